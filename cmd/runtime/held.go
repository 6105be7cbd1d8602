package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
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

// hold begins a held container, and prints its name.
func hold(h here.Here, flags []string, image string) (int, error) {
	invoked = append(append(append([]string{"--quiet"}, flags...), image, "--"), holdCommand...)
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
	return o.detach(h)
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
// one.
//
// The launch of a detached run holds a lock on its report. So the report goes first: who
// has not opened it finds it missing, who has opened it holds the lock.
func release(h here.Here, name string) (was bool, err error) {
	if err := ref.CheckName("container", name); err != nil {
		return false, err
	}
	dir, err := detachedDirectory()
	if err != nil {
		return false, err
	}
	path := filepath.Join(dir, name+reportSuffix)
	report, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer report.Close()
	if err := forget(dir, name); err != nil {
		return false, err
	}
	for end := time.Now().Add(patienceToEnd); ; time.Sleep(lookForStart) {
		r, recorded := recordOf(h, name)
		if recorded && !was {
			was = true // to ask more than once, the process has no right
			if err := client.Kill(h, []string{fmt.Sprintf("%d/%s", os.Getuid(), name)}, warn); err != nil && !errors.Is(err, client.ErrNoContainer) {
				return was, err
			}
		}
		switch {
		case !runs(report):
			return was, nil
		case time.Now().After(end):
			return was, fmt.Errorf("container %s does not end: its supervisor is process %d", name, r.PID)
		}
	}
}

// heldNames lists the caller's containers of a name, and of those that begin with it and
// a dash: what runs, and what has files of a detached run.
func heldNames(h here.Here, prefix string) ([]string, error) {
	records, err := recordsOf(h, uint32(os.Getuid()))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	dir, err := detachedDirectory()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), reportSuffix); is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return name != prefix && !strings.HasPrefix(name, prefix+"-")
	})
	return names, nil
}

// again executes the program again, under a name that it has, and returns its exit
// status. A process that has called a container's supervisor has no privilege any more.
func again(name string, args ...string) (int, error) {
	goruntime.LockOSThread() // the thread's timer slack goes on to the child
	defer goruntime.UnlockOSThread()
	restoreLimits()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		ws, _ := ended.Sys().(syscall.WaitStatus)
		return status.EndOf(ws).ExitCode(), nil
	}
	return 0, err
}

// recordOf returns the record of a container of the caller's.
func recordOf(h here.Here, name string) (state.Record, bool) {
	records, _ := recordsOf(h, uint32(os.Getuid()))
	for _, r := range records {
		if r.Name == name {
			return r, true
		}
	}
	return state.Record{}, false
}
