package nsexec

import (
	"errors"
	"fmt"
	"os/exec"
	goruntime "runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Confinement is for a program of the host that reads what may be hostile: it never
// gains a privilege (no_new_privs, an empty bounding set), has no terminal to write to,
// and is killed when this process ends.
type Confinement struct {
	IDs        bool // it runs as UID and GID, without supplementary groups; else as this process
	UID, GID   uint32
	Namespaces uintptr  // of its own, CLONE_NEW*
	Limits     []string // options of prlimit(1): --as=BYTES
}

// prlimit sets the resource limits: on itself, before it executes the program. To set
// them from outside would be after the program has begun, and take a capability where
// it runs as somebody else.
const prlimit = "/usr/bin/prlimit"

// StartConfined starts a program. Its caller must call wait, once, in the place of cmd.Wait.
//
// What this process is not permitted (CAP_SETUID and CAP_SETGID for ids, CAP_SYS_ADMIN
// for namespaces, CAP_SETPCAP for the bounding set) is left out. It may be called from
// any thread: the program is forked by a thread that is confined itself, and is used
// for nothing else. Linux sends the signal for the parent's end (PR_SET_PDEATHSIG) when
// the thread ends, so that stays as long.
func StartConfined(cmd *exec.Cmd, c Confinement) (wait func() error, err error) {
	if len(c.Limits) > 0 {
		cmd.Args = append(append([]string{prlimit}, c.Limits...), append([]string{"--", cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = prlimit
	}
	started, ended := make(chan error), make(chan struct{})
	aside(func() {
		err := c.confine(cmd)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			<-ended
		}
	})
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		defer close(ended)
		return cmd.Wait()
	}, nil
}

// aside calls f on a thread that ends with it: never the main thread, which the Go
// runtime keeps, and which the process's files in procfs tell of.
func aside(f func()) {
	go func() {
		goruntime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f() // the thread is never unlocked
			return
		}
		locked := make(chan struct{})
		go func() { // while the main thread is taken
			goruntime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
		goruntime.UnlockOSThread()
	}()
}

// confine confines the calling thread, and prepares the fork.
func (c Confinement) confine(cmd *exec.Cmd) error {
	const (
		bounding   = 1 << unix.CAP_SETPCAP
		ids        = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
		namespaces = 1 << unix.CAP_SYS_ADMIN
	)
	now, err := CurrentCapabilities()
	if err != nil {
		return err
	}
	permitted := func(needs uint64) bool { return now.Permitted&needs == needs }
	if err := SetEffective(now.Effective | now.Permitted&(bounding|ids|namespaces)); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if c.IDs && permitted(ids) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID}
	}
	if permitted(namespaces) {
		cmd.SysProcAttr.Cloneflags = c.Namespaces
	}
	if permitted(bounding) {
		if err := LimitBounding(0); err != nil {
			return err
		}
	}
	return NoNewPrivileges()
}

// ErrTooMuchOutput means that a program wrote more than it may.
var ErrTooMuchOutput = errors.New("it wrote too much")

// OutputConfined runs a program and returns its standard output, of at most limit
// bytes; when it fails, an *exec.ExitError with its standard error.
func OutputConfined(cmd *exec.Cmd, c Confinement, limit int) ([]byte, error) {
	out, problem := bounded{limit: limit}, bounded{limit: 4096}
	cmd.Stdout, cmd.Stderr = &out, &problem
	wait, err := StartConfined(cmd, c)
	if err != nil {
		return nil, err
	}
	err = wait()
	var failed *exec.ExitError
	switch {
	case out.over:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooMuchOutput, limit)
	case errors.As(err, &failed):
		failed.Stderr = problem.data
	}
	return out.data, err
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	data  []byte
	limit int
	over  bool
}

func (b *bounded) Write(data []byte) (int, error) {
	keep := min(len(data), b.limit-len(b.data))
	b.over = b.over || keep < len(data)
	b.data = append(b.data, data[:keep]...)
	return len(data), nil
}
