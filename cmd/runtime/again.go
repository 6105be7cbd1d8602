package main

import (
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"

	"mayfly/runtime/access"
)

// The program executes itself again for what outlives it, and for what needs a privilege
// that it has no more: a process that has called a container's supervisor has none.

// itself returns the program, to be executed again under a name that it has.
func itself(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	return cmd
}

// startAsCalled starts a program with the limits and the timer slack of this process's
// caller, which the entry point has changed. This process has its own afterwards.
func startAsCalled(cmd *exec.Cmd) error {
	goruntime.LockOSThread() // the thread's timer slack goes on to the child
	defer goruntime.UnlockOSThread()
	restoreLimits()
	defer raiseAgain()
	return cmd.Start()
}

// again executes the program again, and waits for it.
func again(name string, args ...string) error { return finish(itself(name, args...)) }

// finish starts the program and waits for it. What it prints goes to standard error. An
// error wraps exec.ExitError if the program has failed.
func finish(cmd *exec.Cmd) error {
	cmd.Env = append(access.CallerEnviron(), cmd.Env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	err := startAsCalled(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("`%s`: %w", strings.Join(cmd.Args[:min(len(cmd.Args), 3)], " "), err)
	}
	return nil
}
