package runtime

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/control"
	"mayfly/runtime/state"
)

// killWithin is how long a supervisor may take to answer that it has killed its
// command. One that its owner has stopped, or that has not come to listen, does not.
const killWithin = 2 * time.Second

// Kill ends containers, given as [OWNER/]NAME, by SIGKILL to the command. A supervisor
// that does not answer is killed itself, of which the caller is told: with it ends PID
// 1, and everything in the container. Afterwards the process has no capability: the
// owner needs none to kill, since the supervisor has their real user id.
func Kill(names []string, note func(string)) error {
	var found []*killing
	var errs []error
	for _, name := range names {
		k, err := findToKill(name)
		if err == nil {
			found = append(found, k)
		}
		errs = append(errs, err)
	}
	errs = append(errs, Renounce())
	for _, k := range found {
		errs = append(errs, k.kill(note))
	}
	return errors.Join(errs...)
}

// A killing is a container that is to be killed.
type killing struct {
	record     state.Record
	supervisor int           // pidfd
	conn       *control.Conn // nil: nobody listens
}

func findToKill(name string) (*killing, error) {
	_, which, err := named(name)
	if err != nil {
		return nil, err
	}
	k := &killing{}
	err = AsRoot(func() error {
		if err := k.find(which); err != nil {
			return err
		}
		k.conn, _ = control.Dial(k.record.Socket(), killWithin, func() bool { return !k.over() })
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

// find opens the supervisor. The process id of a record is believed only when the
// record is still its supervisor's after the process has been opened: the process has
// had the record marked all the time, so the number is not another's.
func (k *killing) find(which ownedName) error {
	before, err := which.find()
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(before.PID, 0)
	if err == unix.ESRCH {
		return state.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", before.PID, err)
	}
	k.record, err = which.find()
	if err == nil && (k.record.PID != before.PID || k.record.UID != before.UID || !k.record.Started.Equal(before.Started)) {
		err = state.ErrUnknown // it has ended, and there is another of its name
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	k.supervisor = fd
	return nil
}

// over tells that the supervisor has ended.
func (k *killing) over() bool {
	fds := []unix.PollFd{{Fd: int32(k.supervisor), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

func (k *killing) kill(note func(string)) error {
	defer unix.Close(k.supervisor)
	if k.conn != nil {
		l := &Line{Record: k.record, conn: k.conn}
		defer l.Close()
		if _, _, err := l.ask(control.Request{Signal: int(unix.SIGKILL)}, killWithin); err == nil {
			return nil
		}
	}
	err := unix.PidfdSendSignal(k.supervisor, unix.SIGKILL, nil, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("container %s: kill its supervisor (process %d), which does not answer: %w", k.record.Name, k.record.PID, err)
	}
	note(fmt.Sprintf("container %s: its supervisor (process %d) does not answer, and was killed with all that is in the container; `runtime gc` removes what is left",
		k.record.Name, k.record.PID))
	return nil
}
