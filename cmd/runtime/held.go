package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
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

// A mark is an empty file beside those of the detached run. Who begins a held container
// makes it first, and who ends one removes it first: whatever is between the two is
// found by one of them.

// markHeld makes a held container's mark. It tells whether the mark is new: one that was
// there may be another's who begins it now, or is left of one that has ended.
func markHeld(name string) (isNew bool, err error) {
	if err := ref.CheckName("container", name); err != nil {
		return false, err
	}
	dir, err := detachedDirectory()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name+heldSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// marked lists the names of the caller's held containers that begin with a prefix.
func marked(prefix string) (names []string, err error) {
	dir, err := detachedDirectory()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), heldSuffix); is && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return names, err
}

// hold begins a held container, and prints its name. It is of an image, unless the flags
// name a session.
func hold(h here.Here, name string, flags []string, image string) (int, error) {
	if runsNow(h, name) {
		return exit(fmt.Errorf("%s runs already: `runtime exec -it %s bash`", name, name))
	}
	isNew, err := markHeld(name)
	if err != nil {
		return exit(err)
	}
	invoked = append([]string{"--quiet", "--held", "--name", name}, flags...)
	invoked = append(invoked, "--")
	if image != "" {
		invoked = append(invoked, image, "--")
	}
	invoked = append(invoked, holdCommand...)
	set := newFlags("runtime run")
	o := declare(set)
	if err := parse(set, invoked); err != nil {
		return exit(err)
	}
	if err := o.split(set, set.Args()); err != nil {
		return exit(err)
	}
	if err := inherit.Keep(); err != nil {
		return exit(err)
	}
	code, err := o.detach(h)
	if isNew && (code != 0 || err != nil) {
		if dir, _ := detachedDirectory(); dir != "" {
			err = errors.Join(err, forget(dir, name))
		}
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
// one. It can end one container in a process, which then has no privilege any more.
//
// A detached run that is held looks for its mark after it has made its report, and the
// launch holds a lock on the report. So the mark goes first, then the report: who has
// not opened that finds it missing, who has opened it holds the lock.
func release(h here.Here, name string) (was bool, err error) {
	if err := ref.CheckName("container", name); err != nil {
		return false, err
	}
	dir, err := detachedDirectory()
	if err != nil {
		return false, err
	}
	path := filepath.Join(dir, name)
	err = os.Remove(path + heldSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	report, err := os.OpenFile(path+reportSuffix, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, forget(dir, name)
	}
	if err != nil {
		return true, err
	}
	defer report.Close()
	if err := os.Remove(report.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return true, err
	}
	return true, errors.Join(killHeld(h, name, report), forget(dir, name))
}

// killHeld kills the container until the lock on its report is free.
func killHeld(h here.Here, name string, report *os.File) error {
	killed := false
	for end := time.Now().Add(patienceToEnd); runs(report); time.Sleep(lookForStart) {
		if time.Now().After(end) {
			return fmt.Errorf("container %s does not end: `runtime ps` shows it", name)
		}
		if killed {
			continue
		}
		r, recorded, err := recordOf(h, name)
		if err != nil {
			return err
		}
		if recorded {
			killed = true // to ask again, the process has no right
			if err := client.Kill(h, []string{fmt.Sprintf("%d/%s", os.Getuid(), r.Name)}, warn); err != nil && !errors.Is(err, client.ErrNoContainer) {
				return err
			}
		}
	}
	return nil
}

// again executes the program again, under a name that it has. A process that has called a
// container's supervisor has no privilege any more. What the program prints goes to
// standard error. variables are added to its environment. An error wraps exec.ExitError if
// the program has failed.
func again(variables []string, input io.Reader, name string, args ...string) error {
	goruntime.LockOSThread() // the thread's timer slack goes on to the child
	defer goruntime.UnlockOSThread()
	restoreLimits()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Env = append(access.CallerEnviron(), variables...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("`%s %s`: %w", name, strings.Join(args[:min(len(args), 2)], " "), err)
	}
	return nil
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
