package supervisor

import (
	"errors"

	"mayfly/runtime/control"
	"mayfly/runtime/privilege"
)

// releaseNetwork releases the address of a private network.
func (s *supervisor) releaseNetwork() error {
	if s.Lease == nil {
		return nil
	}
	return privilege.AsRoot(s.Here, privilege.NetworkCapabilities, s.Lease.Release)
}

// sendNetwork answers a request for the container's network. It sends a descriptor of
// the network namespace and, for a private network, the descriptor that holds the lease
// of its address.
func (s *service) sendNetwork(c *control.Conn) {
	if s.supervisor.Netns == nil {
		_ = c.Send(problem(errors.New("has no network of its own")))
		return
	}
	if lease := s.supervisor.Lease; lease != nil {
		_ = c.Send(control.Reply{Address: uint32(lease.Address)}, int(s.supervisor.Netns.Fd()), int(lease.File().Fd()))
		return
	}
	_ = c.Send(control.Reply{}, int(s.supervisor.Netns.Fd()))
}
