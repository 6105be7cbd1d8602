package launch

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
	"mayfly/runtime/plan"
	"mayfly/runtime/programs"
	"mayfly/runtime/seccomp"
	"mayfly/runtime/status"
)

// startCommand executes the plan's command, or its fallback where the container does
// not have the command. terminal is a descriptor of the command's own terminal; 0: it
// has none. It runs on the launch's thread, which has the command's root directory and
// rights by then. The caller owns the Process. A status.CommandError says that the
// command was not found or cannot be executed.
func (l *Launch) startCommand(p *plan.Plan, files [3]uintptr, terminal int) (*nsexec.Process, error) {
	args := p.Spec.Process.Args
	process, err := l.startOne(p, args, files, terminal)
	var missing *status.CommandError
	if errors.As(err, &missing) && missing.Code == status.ExitNotFound && p.Fallback != nil {
		other, process := *p, *p.Spec.Process
		process.Env = plan.WithShell(process.Env, args[0], p.Fallback[0])
		other.Spec.Process = &process
		return l.startOne(&other, p.Fallback, files, terminal)
	}
	return process, err
}

// filterOf returns the seccomp filter for the plan's commands.
func filterOf(p *plan.Plan) []unix.SockFilter {
	if p.NoSync {
		return seccomp.WithoutSync(profileOf(p))
	}
	return profileOf(p)
}

func profileOf(p *plan.Plan) []unix.SockFilter {
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

func (l *Launch) startOne(p *plan.Plan, args []string, files [3]uintptr, terminal int) (*nsexec.Process, error) {
	env := p.Spec.Process.Env
	file, err := lookUp(args[0], env)
	if err != nil {
		return nil, err
	}
	if p.Login {
		args = append([]string{"-" + path.Base(args[0])}, args[1:]...)
	}
	c := nsexec.Command{Path: file, Args: args, Env: l.listenPID(p), Files: files, Kept: p.Descriptors, Terminal: terminal, Filter: filterOf(p)}
	if c.Limits, err = limitsOf(p.Spec.Process.Rlimits); err != nil {
		return nil, err
	}
	if group := l.Group(); group != nil {
		c.Cgroup = group.FD()
	}
	if p.RootInside() {
		if err := l.enterUserNamespace(p, &c); err != nil {
			return nil, err
		}
	}
	process, err := nsexec.StartCommand(c)
	if err == syscall.ENOEXEC {
		begin := programs.Beginning(l.ThreadProc, programs.WhereIs(file, c.Dirs))
		if err := programs.CheckMachine(file, begin); err != nil {
			return nil, err
		}
		if isText(begin) {
			c.Path, c.Args = plan.PlainShell, slices.Concat([]string{plan.PlainShell, "--", file}, args[1:])
			c.Env = l.listenPID(p)
			process, err = nsexec.StartCommand(c)
		}
	}
	if err != nil {
		return nil, whyNot(l.ThreadProc, file, c.Dirs, err)
	}
	l.tellWhere(p, process)
	return process, nil
}

// isText tells a script without "#!" from a program for another machine, by the rule of
// POSIX shells: there is no NUL byte in the first 256 bytes. The shell runs such a
// script.
func isText(data []byte) bool {
	return data != nil && bytes.IndexByte(data[:min(len(data), 256)], 0) < 0
}

// lookUp finds a command as execvp(3) does, in the PATH of its environment.
func lookUp(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	notFound := &status.CommandError{Command: name, Reason: "command not found in the container's PATH", Code: status.ExitNotFound}
	if name == "" {
		return "", notFound
	}
	for dir := range strings.SplitSeq(plan.Value(env, "PATH"), ":") {
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
		notFound = &status.CommandError{Command: file, Reason: "not executable", Code: status.ExitNotExecutable}
	}
	return "", notFound
}

// whyNot turns the errno of execve(2) into an error that the user can act on. dirs are
// nsexec.Command.Dirs. proc is the thread's directory in procfs, as for
// programs.Beginning. An error that is no errno comes from a step before execve(2).
func whyNot(proc int, file string, dirs []string, err error) error {
	if _, ofExecve := err.(syscall.Errno); !ofExecve {
		if len(dirs) > 0 {
			file += " in " + dirs[len(dirs)-1]
		}
		return fmt.Errorf("start %s: %w", file, err)
	}
	var st syscall.Stat_t
	exists := syscall.Stat(programs.WhereIs(file, dirs), &st) == nil
	switch {
	case errors.Is(err, syscall.ENOENT) && !exists:
		return &status.CommandError{Command: file, Reason: "not found in the container", Code: status.ExitNotFound}
	case errors.Is(err, syscall.ENOENT):
		return &status.CommandError{Command: file, Reason: programs.MissingInterpreter(proc, file, dirs), Code: status.ExitNotExecutable}
	case errors.Is(err, syscall.ELOOP) && exists:
		return &status.CommandError{Command: file, Reason: "its interpreter is a script too, and so on", Code: status.ExitNotExecutable}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return &status.CommandError{Command: file, Reason: "not found in the container: " + err.Error(), Code: status.ExitNotFound}
	case exists && st.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		return &status.CommandError{Command: file, Reason: "is a directory", Code: status.ExitNotExecutable}
	case errors.Is(err, syscall.ENOEXEC):
		return &status.CommandError{Command: file, Reason: "neither a program for this machine nor a script with #!", Code: status.ExitNotExecutable}
	case errors.Is(err, syscall.E2BIG):
		return &status.CommandError{Command: file, Reason: "arguments and environment are too long", Code: status.ExitNotExecutable}
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("start %s: %w (is a process limit reached?)", file, err)
	}
	return &status.CommandError{Command: file, Reason: err.Error(), Code: status.ExitNotExecutable}
}

// enterUserNamespace makes the command of root inside enter the user namespace. Its working
// directory is entered after that, with the rights that it has there.
func (l *Launch) enterUserNamespace(p *plan.Plan, c *nsexec.Command) error {
	keep, err := capabilitySet(p.Spec.Process.Capabilities)
	if err != nil {
		return err
	}
	c.UserNamespace = &nsexec.UserNamespace{Owner: l.Here.Root(), FD: int(l.Userns.Fd()), Keep: keep}
	if !l.entered { // else it inherits the thread's working directory
		c.Dirs, c.DirRequired = p.DirsToEnter(), p.DirRequired
	}
	return nil
}
