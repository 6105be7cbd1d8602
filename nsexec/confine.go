package nsexec

import (
	"errors"
	"fmt"
	"os/exec"
	goruntime "runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Confinement is how a program of the host runs that reads hostile data. Whatever it
// says, the program gains no privilege (no_new_privs, an empty bounding set), leads a
// session without a terminal, and is killed when this process ends.
type Confinement struct {
	IDs        bool // it has the ids UID and GID and no supplementary groups; else this process's
	UID, GID   uint32
	Namespaces uintptr  // CLONE_NEW*, of its own
	Limits     []string // options of prlimit(1), such as --as=BYTES
}

// prlimit is executed in the program's place, sets the resource limits of itself, and
// executes the program. To set them from outside would come after the program has
// begun, and take a capability where the program runs with other ids.
const prlimit = "/usr/bin/prlimit"

// StartConfined starts a program. The caller must call wait, once, in the place of
// cmd.Wait.
//
// It may be called from any thread, and leaves that as it is: another thread confines
// itself and forks the program. That thread does nothing else and stays until the
// program has ended, since Linux sends the signal for the parent's end
// (PR_SET_PDEATHSIG) when the thread that has forked ends.
//
// Permitted to the process there should be CAP_SETUID and CAP_SETGID for the ids,
// CAP_SYS_ADMIN for the namespaces and CAP_SETPCAP for the bounding set. A part of the
// confinement whose capability is missing is left out, without an error.
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

// aside calls f on a thread that ends when f returns. It is never the main thread: the
// Go runtime does not end that one, and /proc/PID describes it.
func aside(f func()) {
	go func() {
		goruntime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f() // the goroutine ends locked, and the thread with it
			return
		}
		locked := make(chan struct{})
		go func() { // the main thread is taken: this goroutine gets another one
			goruntime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
		goruntime.UnlockOSThread()
	}()
}

// confine confines the calling thread, which must be locked and end afterwards, and
// sets what the fork does.
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

// ErrTooMuchOutput means that a program wrote more to standard output than it may.
var ErrTooMuchOutput = errors.New("it wrote too much")

// OutputConfined runs a program as StartConfined does, waits for it, and returns its
// standard output. Of more than limit bytes it returns ErrTooMuchOutput, when the
// program has ended. A program that fails gives an *exec.ExitError with the first 4096
// bytes of its standard error. It may be called from any thread.
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

// bounded keeps the first limit bytes of what is written to it.
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
