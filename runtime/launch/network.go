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

// makeNetwork makes the container's network, or gets that of another one.
func (l *Launch) makeNetwork() error {
	if l.Plan.NetworkMode == "" {
		return nil
	}
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

// connectNetwork gives the network an address, and a way outside.
func (l *Launch) connectNetwork() error {
	if err := privilege.CheckNetwork(); err != nil {
		return err
	}
	// Who has an address counts as a container: launches that are stopped, or refused, before
	// they are recorded could take all.
	if err := l.Recorded(); err != nil {
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

// enterNetwork moves the thread there, and sets up the container's end.
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
