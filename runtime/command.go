package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/personality/arch"
	"mayfly/runtime/seccomp"
)

// startCommand executes the plan's command, or its fallback where the container does
// not have it. The terminal is a descriptor of its own one, or 0. It runs on the
// launch's thread, with the command's root and rights.
func (l *launch) startCommand(p *Plan, files [3]uintptr, terminal int) (*nsexec.Process, error) {
	args := p.Spec.Process.Args
	process, err := l.startOne(p, args, files, terminal)
	var missing *CommandError
	if errors.As(err, &missing) && missing.Code == ExitNotFound && p.Fallback != nil {
		other, process := *p, *p.Spec.Process
		process.Env = withShell(process.Env, args[0], p.Fallback[0])
		other.Spec.Process = &process
		return l.startOne(&other, p.Fallback, files, terminal)
	}
	return process, err
}

// filter is the system-call filter of the plan's commands.
func (p *Plan) filter() []unix.SockFilter {
	switch {
	case p.Nested && p.NetworkMode == "":
		return seccomp.Nested
	case p.Nested && p.Multiplexed:
		return seccomp.NestedIsolatedMultiplexed
	case p.Nested:
		return seccomp.NestedIsolated
	case p.NetworkMode == "":
		return seccomp.Filter
	case p.Multiplexed:
		return seccomp.IsolatedMultiplexed
	}
	return seccomp.Isolated
}

func (l *launch) startOne(p *Plan, args []string, files [3]uintptr, terminal int) (*nsexec.Process, error) {
	env := p.Spec.Process.Env
	file, err := lookUp(args[0], env)
	if err != nil {
		return nil, err
	}
	if p.Login {
		args = append([]string{"-" + path.Base(args[0])}, args[1:]...)
	}
	c := nsexec.Command{Path: file, Args: args, Env: l.listenPID(p), Files: files, Kept: p.Descriptors, Terminal: terminal, Filter: p.filter()}
	if c.Limits, err = limitsOf(p.Spec.Process.Rlimits); err != nil {
		return nil, err
	}
	if l.root.group != nil {
		c.Cgroup = l.root.group.FD()
	}
	if p.rootInside() {
		if err := l.becomesRoot(p, &c); err != nil {
			return nil, err
		}
	}
	process, err := nsexec.StartCommand(c)
	if err == syscall.ENOEXEC {
		begin := beginning(l.threadProc, whereIs(file, c.Dirs))
		if err := checkMachine(file, begin); err != nil {
			return nil, err
		}
		if isText(begin) {
			c.Path, c.Args = plainShell, slices.Concat([]string{plainShell, "--", file}, args[1:])
			c.Env = l.listenPID(p)
			process, err = nsexec.StartCommand(c)
		}
	}
	if err != nil {
		return nil, whyNot(l.threadProc, file, c.Dirs, err)
	}
	l.tellWhere(p, process)
	return process, nil
}

// checkMachine refuses a program that is for another machine.
func checkMachine(name string, beginning []byte) error {
	arch, err := arch.OfProgram(beginning)
	host, unknown := hostArchitecture()
	if err != nil || unknown != nil || arch.RunsOn(host) {
		return nil
	}
	return &CommandError{name, "a program for " + arch.Debian + ", which this machine does not run: `runtime doctor` tells what does", ExitNotExecutable}
}

// isText tells a script without "#!", which the shell is to run as it is wherever
// commands are typed, from a program for another machine: by the shells' own rule,
// which is that there is no NUL byte in its beginning.
func isText(data []byte) bool {
	return data != nil && bytes.IndexByte(data[:min(len(data), 256)], 0) < 0
}

// lookUp finds a command as execvp(3) does, in the PATH that it will have.
func lookUp(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	notFound := &CommandError{name, "command not found in the container's PATH", ExitNotFound}
	if name == "" {
		return "", notFound
	}
	for dir := range strings.SplitSeq(value(env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		file := path.Join(dir, name)
		if dir == "." {
			file = "./" + name
		}
		var st syscall.Stat_t
		if syscall.Stat(file, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		if st.Mode&0o111 != 0 {
			return file, nil
		}
		notFound = &CommandError{file, "not executable", ExitNotExecutable}
	}
	return "", notFound
}

// whyNot turns the errno of execve(2) into what the user can act on. dirs are those
// that the command was given to enter, proc is as for beginning.
func whyNot(proc int, file string, dirs []string, err error) error {
	if _, ofExecve := err.(syscall.Errno); !ofExecve {
		return fmt.Errorf("start %s: %w", file, err)
	}
	var st syscall.Stat_t
	exists := syscall.Stat(whereIs(file, dirs), &st) == nil
	switch {
	case errors.Is(err, syscall.ENOENT) && !exists:
		return &CommandError{file, "not found in the container", ExitNotFound}
	case errors.Is(err, syscall.ENOENT):
		return &CommandError{file, missingInterpreter(proc, file, dirs), ExitNotExecutable}
	case errors.Is(err, syscall.ELOOP) && exists:
		return &CommandError{file, "its interpreter is a script too, and so on", ExitNotExecutable}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return &CommandError{file, "not found in the container: " + err.Error(), ExitNotFound}
	case exists && st.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		return &CommandError{file, "is a directory", ExitNotExecutable}
	case errors.Is(err, syscall.ENOEXEC):
		return &CommandError{file, "neither a program for this machine nor a script with #!", ExitNotExecutable}
	case errors.Is(err, syscall.E2BIG):
		return &CommandError{file, "arguments and environment are too long", ExitNotExecutable}
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("start %s: %w (is a process limit reached?)", file, err)
	}
	return &CommandError{file, err.Error(), ExitNotExecutable}
}

func value(env []string, name string) string {
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v
		}
	}
	return ""
}

func homeOf(env []string) string {
	if home := value(env, "HOME"); path.IsAbs(home) {
		return home
	}
	return "/"
}
