package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/runtime/access"
	"mayfly/runtime/client"
	"mayfly/runtime/console"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/inherit"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A held container is one that other programs run commands in, one after the other: a
// session of schroot's, a job of a CI system. It is a detached run whose own command
// does nothing, so /tmp, processes and the network are one for all of its commands, and
// its snapshot goes when it ends.

// holdCommand waits until it is killed. Every image with a shell has it.
var holdCommand = []string{"tail", "-f", "/dev/null"}

// Its report is NAME.held. Who begins it locks the report first, and hands the open file
// on: to the program that launches it, and that to the run itself. So there is a lock from
// the beginning to the end, also if one of them is killed. Who ends it writes into the report
// that it is to end, kills what has a record, and waits for the lock.

// beginHeld opens and locks the report of a held container. The caller closes it when the
// container runs.
func beginHeld(name string) (*os.File, error) {
	if err := ref.CheckName("container", name); err != nil {
		return nil, err
	}
	dir, err := makeDetachedDirectory()
	if err != nil {
		return nil, err
	}
	return lockReport(dir, name, heldSuffix)
}

// isToEnd tells whether somebody wants the container to end whose report is open.
func isToEnd(report *os.File) bool {
	info, err := report.Stat()
	return err != nil || info.Size() > 0
}

var errToEnd = errors.New("it is to end before it has begun")

// held lists the names of the caller's held containers, whether they run or not.
func held() (names []string, err error) {
	dir, err := detachedDirectory()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), heldSuffix); is {
			names = append(names, name)
		}
	}
	return names, nil
}

// hold begins a held container, and prints its name. It is of an image, unless the flags
// name a session.
func hold(h here.Here, name string, flags []string, image string) (int, error) {
	invoked = append([]string{"--quiet", "--held", "--name", name}, flags...)
	if image != "" {
		invoked = append(invoked, image)
	}
	invoked = append(append(invoked, "--"), holdCommand...)
	o, err := optionsOf(invoked)
	if err == nil {
		err = inherit.Keep()
	}
	if err != nil {
		return exit(err)
	}
	if o.report, err = beginHeld(name); err != nil {
		return exit(err)
	}
	defer o.report.Close()
	code, err := o.detach(h)
	if code != 0 || err != nil { // the run has ended
		dir, failed := detachedDirectory()
		if failed == nil {
			_, failed = forgetEnded(dir, name, heldSuffix, o.report)
		}
		err = errors.Join(err, failed)
	}
	return code, err
}

// An execution is a command to run in a running container.
type execution struct {
	container string
	args      []string
	env       []string // NAME=VALUE, or NAME with the caller's value
	dir       string   // "": that of the container's command
	tty       bool     // a terminal of its own, even where input and output are none
	noTTY     bool
}

// run runs the command and tells how it ended.
func (e execution) run(h here.Here) (how status.Status, err error) {
	terminal := term.IsTerminal(0) && term.IsTerminal(1)
	if e.tty && !terminal {
		return how, errors.New("--tty needs standard input and output on a terminal")
	}
	set, err := client.ExecEnvironment(e.env)
	if err != nil {
		return how, err
	}
	signals, err := listen()
	if err != nil {
		return how, err
	}
	line, err := client.Call(h, e.container, e.args)
	if err != nil {
		return how, err
	}
	defer line.Close()
	if line.Unlogged != nil {
		warn(line.Unlogged.Error())
	}
	own := e.tty || terminal && !e.noTTY && !console.InBackground(0)
	return line.Exec(control.Exec{Args: e.args, Env: set, Dir: e.dir, Terminal: own, TTY: !own && !e.noTTY && access.OnTerminal(), KeepTerm: client.KeepsTerm(e.env)}, signals)
}

// asUser returns a command that runs another as a user, by the program setpriv of the
// image, which begins as root inside.
func asUser(uid, gid uint32, command []string) []string {
	return append([]string{"setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(gid), "--init-groups", "--"}, command...)
}

// patienceToEnd is how long a held container may take to end. Its command is killed; to
// remove a snapshot takes the rest.
const patienceToEnd = time.Minute

// release ends a held container of the caller's, whatever state it is in: also one that
// is about to begin. There is none of that name afterwards. It tells whether there was
// one. If it is killed or gives up, the next one goes on.
func release(h here.Here, name string) (was bool, err error) {
	if err := ref.CheckName("container", name); err != nil {
		return false, err
	}
	dir, err := detachedDirectory()
	if err != nil {
		return false, err
	}
	report, err := os.OpenFile(filepath.Join(dir, name+heldSuffix), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer report.Close()
	killed := 0 // a supervisor
	for end := time.Now().Add(patienceToEnd); ; time.Sleep(lookForStart) {
		if ended, err := forgetEnded(dir, name, heldSuffix, report); ended || err != nil {
			return true, err
		}
		if !isToEnd(report) {
			if _, err := report.WriteString("end\n"); err != nil {
				return true, err
			}
		}
		r, recorded, err := recordOf(h, name)
		switch {
		case err != nil:
			return true, err
		case recorded && r.PID != killed:
			killed = r.PID
			if err := kill(name); err != nil {
				warn(err.Error()) // it may have ended by itself
			}
		case time.Now().After(end):
			return true, fmt.Errorf("container %s does not end within %v: try again, `runtime ps` shows what runs", name, patienceToEnd)
		}
	}
}

// kill kills a container of the caller's in a process of its own.
func kill(name string) error {
	return again("runtime", "kill", "--signal", "KILL", fmt.Sprintf("%d/%s", os.Getuid(), name))
}

// recordOf returns the record of a container of the caller's.
func recordOf(h here.Here, name string) (r state.Record, is bool, err error) {
	records, err := recordsOf(h, uint32(os.Getuid()))
	for _, r := range records {
		if r.Name == name {
			return r, true, nil
		}
	}
	return r, false, err
}
