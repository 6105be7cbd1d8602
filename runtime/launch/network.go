package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/client"
	"mayfly/runtime/network"
	"mayfly/runtime/network/address"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
)

// makeNetwork makes the container's network namespace, or gets a descriptor of another
// container's. For `interface:IF` it moves the host's interface in; for a private
// network it claims an address and connects it with the bridge.
func (l *Launch) makeNetwork() error {
	var fd int
	var err error
	if l.Plan.Join != nil {
		fd, l.Lease, err = client.Network(l.Here, l.Plan.Join.Name, l.Plan.Join.UID)
	} else {
		fd, err = nsexec.NewNetwork(l.Here.Root())
	}
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: this machine allows no more of them, see user.max_net_namespaces and user.max_user_namespaces in sysctl", err)
	}
	if err != nil {
		return err
	}
	l.Netns = os.NewFile(uintptr(fd), "network")
	if device, takes := strings.CutPrefix(l.Plan.Network, plan.InterfacePrefix); takes {
		return privilege.AsRoot(l.Here, privilege.NetworkCapabilities, func() error {
			l.device, err = network.Take(device, fd)
			return err
		})
	}
	if l.Plan.Network == rule.NetworkPrivate {
		return l.connectNetwork()
	}
	return nil
}

// connectNetwork claims an address for the network and connects it with the host's
// bridge.
func (l *Launch) connectNetwork() error {
	if err := privilege.CheckNetwork(); err != nil {
		return err
	}
	// The record comes first, since containers are counted by their records. Otherwise
	// launches that are stopped or refused before they are recorded could claim all
	// addresses.
	if err := l.AwaitRecord(); err != nil {
		return err
	}
	addresses, err := address.Parse(l.Plan.NetworkRange)
	if err != nil {
		return err
	}
	if l.Lease, err = network.Claim(addresses, l.Plan.Container, l.Plan.Owner.UID); err != nil {
		return err
	}
	return privilege.AsRoot(l.Here, privilege.NetworkCapabilities, func() error { return l.Lease.Connect(int(l.Netns.Fd())) })
}

// enterNetwork moves the thread into the container's network namespace and configures
// the interface there.
func (l *Launch) enterNetwork() error {
	if l.Netns == nil {
		return nil
	}
	err := nsexec.EnterNetwork(int(l.Netns.Fd()))
	if err == nil && l.device != nil {
		return privilege.AsRoot(l.Here, privilege.NetworkCapabilities, l.device.Configure)
	}
	if err != nil || l.Plan.Network != rule.NetworkPrivate {
		return err
	}
	return privilege.AsRoot(l.Here, privilege.NetworkCapabilities, l.Lease.Configure)
}
