package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/ci"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// machine is the program itself, for package ci. What does not end with this process is
// done by calling it again: it has its privileges then.
type machine struct{ here.Here }

// Hold implements ci.Machine.
func (m machine) Hold(c ci.Container) error {
	command := c.Command
	if command == nil {
		command = holdCommand
	}
	report, err := beginHeld(c.Name)
	if err != nil {
		return err
	}
	defer report.Close()
	args := slices.Concat([]string{"run"}, c.Flags, []string{"--detach", "--held", "--quiet", "--name", c.Name, "--variables", jobPrefix, c.Image, "--"}, command)
	run := itself("runtime", args...)
	run.ExtraFiles = []*os.File{report}
	for _, entry := range c.Variables {
		run.Env = append(run.Env, jobPrefix+entry)
	}
	if err := finish(run); err != nil {
		return fmt.Errorf("container %s of image %s has not begun: %w", c.Name, c.Image, err)
	}
	return nil
}

// jobPrefix begins the names of variables of a job in the environment of the program,
// which no other user can read, unlike its arguments. Without it a job could set the
// program's own.
const jobPrefix = "MAYFLY_OF_JOB_"

// Exec implements ci.Machine.
func (m machine) Exec(c ci.Command) (int, error) {
	if c.Input != "" {
		f, err := openFile(c.Input, os.O_RDONLY, 0)
		if err != nil {
			return 0, err
		}
		if err := unix.Dup3(int(f.Fd()), 0, 0); err != nil {
			return 0, err
		}
	}
	pipes, err := openOutputPipes()
	if err != nil {
		return 0, err
	}
	how, err := execution{container: c.Container, args: c.Args, env: c.Variables, dir: c.Dir, noTTY: true}.run(m.Here)
	if failed := pipes.close(); failed != nil {
		warn("pass the output on: " + failed.Error())
	}
	var missing *status.CommandError
	if errors.As(err, &missing) { // as a shell tells it
		fail(err)
		return missing.Code, nil
	}
	return how.ExitCode(), err
}

// Run implements ci.Machine.
func (m machine) Run(c ci.Container) (int, error) {
	o, err := optionsOf(slices.Concat(c.Flags, []string{"--name", c.Name, c.Image, "--"}, c.Command))
	if err != nil {
		return 0, err
	}
	o.env = append(o.env, c.Variables...)
	return o.launch(m.Here)
}

// Outside implements ci.Machine.
func (m machine) Outside(args ...string) (int, error) {
	if err := privilege.Renounce(); err != nil {
		return 0, err
	}
	goruntime.LockOSThread() // whose end would be the parent's, for Pdeathsig
	defer goruntime.UnlockOSThread()
	restoreLimits()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = access.CallerEnviron()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	_ = cmd.Wait()
	ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.EndOf(ws).ExitCode(), nil
}

// Release implements ci.Machine.
func (m machine) Release(name string) error {
	belongs := func(other string) bool { return other == name || strings.HasPrefix(other, name+"-") }
	names, err := held()
	for _, name := range names {
		if belongs(name) {
			_, failed := release(m.Here, name)
			err = errors.Join(err, failed)
		}
	}
	records, failed := recordsOf(m.Here, uint32(os.Getuid()))
	for _, r := range records { // one of Run is not held
		if !slices.Contains(names, r.Name) && belongs(r.Name) {
			err = errors.Join(err, kill(r.Name))
		}
	}
	return errors.Join(err, failed, again("runtime", "gc"))
}

// Holds implements ci.Machine.
func (m machine) Holds(name string) bool {
	names, err := held()
	return err == nil && slices.Contains(names, name)
}
