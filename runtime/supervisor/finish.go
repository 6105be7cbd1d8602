package supervisor

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// finish ends the container and removes what was made for it. It kills the processes by
// way of PID 1. It deletes the snapshot while the kernel ends them; their open files
// stay usable until then. It waits for their end, and then stops and closes the rest:
// terminals, the socket, the network, descriptors.
func (s *supervisor) finish(status status.Status) error {
	var errs []error
	close(s.Over)
	if s.Init != nil {
		s.Init.Kill()
	}
	if s.Opened != nil { // what they have opened still has its names
		errs = append(errs, s.awaitEnd(), s.stopWatch())
	}
	errs = append(errs, privilege.AsRoot(s.Here, access.StoreCapabilities(s.store), s.root.Remove))
	if s.Opened == nil {
		errs = append(errs, s.awaitEnd())
	}
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

// killedWithin bounds how long killed processes of a container may take to end: one may
// wait for a file system that does not answer.
const killedWithin = 30 * time.Second

// awaitEnd waits until every process of the container has ended. It does not wait if
// the command could not be waited for: PID 1 ends only after the command was reaped,
// which the host's init does when this process has ended. The other processes are
// killed by then.
func (s *supervisor) awaitEnd() error {
	if s.Init == nil || s.Process != nil && !s.Process.Reaped() {
		return nil
	}
	return s.Init.Wait(killedWithin)
}

// stopWatch tells what was opened, with the packages that own the image's files.
func (s *supervisor) stopWatch() error {
	record, err := s.Opened.Stop()
	if s.Process != nil {
		s.tellOpened(record)
	}
	return err
}
