package client

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
)

// killWithin is how long a supervisor may take to answer that it has killed its
// command. It does not answer if its owner has stopped it, or if it does not listen
// yet.
const killWithin = 2 * time.Second

// Kill ends containers, named [OWNER/]NAME, by SIGKILL to the command. A supervisor
// that does not answer is killed itself, and note is told so: PID 1 and everything in
// the container end with it. To look at records takes the grant. To kill takes no
// capability, since the supervisor has the owner's real user id. Afterwards the process
// has no capability.
func Kill(h here.Here, names []string, note func(string)) error {
	var found []*killing
	var errs []error
	for _, name := range names {
		k, err := findToKill(h, name)
		if err == nil {
			found = append(found, k)
		}
		errs = append(errs, err)
	}
	for _, k := range found {
		errs = append(errs, k.kill(note))
	}
	return errors.Join(append(errs, privilege.Renounce())...)
}

// A killing is a container that is to be killed.
type killing struct {
	here       here.Here
	which      ownedName
	record     state.Record
	supervisor int // pidfd
	init       int // pidfd of PID 1; -1: it is not known
	initPID    int
	conn       *control.Conn // nil: nobody listens
}

func findToKill(h here.Here, name string) (*killing, error) {
	_, which, err := named(h, name)
	if err != nil {
		return nil, err
	}
	k := &killing{here: h, which: which, init: -1}
	err = access.AsRoot(h, func() error {
		if err := k.find(); err != nil {
			return err
		}
		k.conn, _ = control.Dial(k.record.Socket(h), killWithin, func() bool { return !k.over() })
		return nil
	})
	switch {
	case errors.Is(err, state.ErrUnknown):
		return nil, unknown(name)
	case err != nil:
		return nil, fmt.Errorf("container %s: find its supervisor: %w", name, err)
	}
	return k, nil
}

// find opens a pidfd of the supervisor. The record's process id is believed only if the
// record is still the same after the process was opened. The supervisor holds the
// record's mark all the time, so the number cannot be another process's then. The
// thread must act on files as root.
func (k *killing) find() error {
	before, err := k.which.Find(k.here)
	if err != nil {
		return err
	}
	if before.PID != 0 {
		k.supervisor, err = unix.PidfdOpen(before.PID, 0)
	}
	if before.PID == 0 || err == unix.ESRCH {
		return k.findHolder(before)
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", before.PID, err)
	}
	k.record = before
	same, err := k.same()
	if err == nil && !same {
		err = state.ErrUnknown // it has ended, and another has its name
	}
	if err != nil {
		unix.Close(k.supervisor)
	}
	return err
}

// same tells whether the record is still that of the same supervisor.
func (k *killing) same() (bool, error) {
	now, err := k.which.Find(k.here)
	if errors.Is(err, state.ErrUnknown) {
		return false, nil
	}
	return err == nil && now.PID == k.record.PID && now.UID == k.record.UID && now.Started.Equal(k.record.Started), err
}

// findHolder opens the process that holds the record's mark, if the record does not
// name a process or names one that has ended. That can be a child of the supervisor,
// which was stopped before it closed its descriptors. Only root finds it.
func (k *killing) findHolder(r state.Record) error {
	pid := state.Holder(k.here, r.UID, r.Name)
	if pid == 0 {
		return errors.New("its record does not say which process it is: root's `runtime kill` looks for it")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil && state.Holder(k.here, r.UID, r.Name) != pid {
		unix.Close(fd)
		err = unix.ESRCH
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	k.record, k.supervisor = r, fd
	k.record.PID = pid
	return nil
}

// over tells that the supervisor has ended.
func (k *killing) over() bool { return hasEnded(k.supervisor) }

func hasEnded(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// endWithin bounds how long a supervisor that has removed its record may take to end.
const endWithin = 15 * time.Second

// ends tells whether the supervisor is ending by itself, and waits for that. A
// supervisor removes its record first; then it restores the terminal and tells the log.
func (k *killing) ends() bool {
	going := false
	err := access.AsRoot(k.here, func() error {
		listed, err := k.which.Find(k.here)
		going = errors.Is(err, state.ErrUnknown) || err == nil && !listed.Started.Equal(k.record.Started)
		return nil
	})
	for begun := time.Now(); err == nil && going && !k.over(); time.Sleep(killStep) {
		if time.Since(begun) > endWithin {
			return false
		}
	}
	return err == nil && going
}

// killStep is the pause between two looks at whether a supervisor has ended.
const killStep = 10 * time.Millisecond

func (k *killing) kill(note func(string)) error {
	defer k.close()
	if k.conn != nil {
		l := &Conn{here: k.here, Record: k.record, conn: k.conn}
		defer l.Close()
		if _, _, err := l.ask(control.Request{Signal: int(unix.SIGKILL)}, killWithin); err == nil {
			return nil
		}
	}
	if k.ends() {
		return nil
	}
	return k.killSupervisor(note)
}

// killSupervisor kills a supervisor that does not answer. PID 1 is looked for before:
// afterwards the supervisor may no longer be its parent.
func (k *killing) killSupervisor(note func(string)) error {
	if err := access.AsRoot(k.here, k.findInit); err != nil {
		return fmt.Errorf("container %s: look for its PID 1: %w", k.record.Name, err)
	}
	err := unix.PidfdSendSignal(k.supervisor, unix.SIGKILL, nil, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("container %s: kill its supervisor (process %d), which does not answer: %w", k.record.Name, k.record.PID, err)
	}
	if err := k.finish(); err != nil {
		return err
	}
	note(fmt.Sprintf("container %s: its supervisor (process %d) does not answer, and was killed with all that is in the container; `runtime gc` removes what is left",
		k.record.Name, k.record.PID))
	return nil
}

func (k *killing) close() {
	unix.Close(k.supervisor)
	if k.init >= 0 {
		unix.Close(k.init)
	}
}
