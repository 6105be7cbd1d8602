package supervisor

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// finish ends what is left of the container: its processes, which may still write
// to the terminal, then the terminal, then what the launch held. While the kernel
// ends the processes, the snapshot is deleted; what they have open in it stays theirs.
func (s *supervisor) finish(status status.Status) error {
	var errs []error
	close(s.Over)
	if s.Init != nil {
		s.Init.Kill()
	}
	errs = append(errs, privilege.AsRoot(s.Here, access.StoreCapabilities(s.store), s.root.Remove))
	errs = append(errs, s.awaitEnd())
	if len(s.root.replaced) > 0 {
		errs = append(errs, privilege.AsRoot(s.Here, access.StoreCapabilities(s.store), s.root.restore))
	}
	s.Feed.Stop()
	if s.relay != nil {
		errs = append(errs, s.relay.Stop())
	}
	if s.Console != nil {
		errs = append(errs, s.Console.Close())
	}
	errs = append(errs, s.service.stop(status), s.releaseNetwork())
	if s.Netns != nil {
		errs = append(errs, s.Netns.Close())
	}
	if s.Process != nil {
		errs = append(errs, s.Process.Close())
	}
	if s.ThreadProc > 0 {
		errs = append(errs, unix.Close(s.ThreadProc))
	}
	return errors.Join(errs...)
}

// killedWithin bounds how long the processes of a container may take to end that have
// been killed: one may wait for a file system that does not answer.
const killedWithin = 30 * time.Second

// awaitEnd waits until every process of the container has ended. One that could not be
// waited for ends with this process, and keeps PID 1 until then: the others are killed.
func (s *supervisor) awaitEnd() error {
	if s.Init == nil || s.Process != nil && !s.Process.Reaped() {
		return nil
	}
	return s.Init.Wait(killedWithin)
}
