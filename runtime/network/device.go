package network

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Device is an interface of the host's that a container takes over, as long as it
// runs. When the container's network goes, the kernel gives a physical interface back
// to the host, and removes a virtual one.
type Device struct {
	Name      string
	addresses []netlink.Addr // that reach beyond the link
}

// Take moves an interface of the thread's network namespace into another one. It needs
// CAP_NET_ADMIN in both.
func Take(name string, netns int) (*Device, error) {
	h, err := open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	l, err := find(h, name)
	if err == unix.ENODEV {
		return nil, fmt.Errorf("interface %s: the host has none of that name, `ip link` lists them", name)
	}
	d := &Device{Name: name}
	if err == nil {
		d.addresses, err = addresses(h, l)
	}
	if err == nil {
		err = h.LinkSetNsFd(l, netns)
	}
	if err != nil {
		return nil, fmt.Errorf("move interface %s into the container: %w", name, err)
	}
	return d, nil
}

// Configure gives the interface the addresses that it had, and sets it up. The thread
// must be in the container's network namespace, and needs CAP_NET_ADMIN.
func (d *Device) Configure() error {
	h, err := open()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := find(h, d.Name)
	if err == nil {
		err = h.LinkSetUp(l)
	}
	for _, a := range d.addresses {
		if err == nil {
			err = h.AddrReplace(l, &a)
		}
	}
	if err != nil {
		return fmt.Errorf("set up interface %s in the container: %w", d.Name, err)
	}
	return nil
}

// addresses lists the addresses of an interface that reach beyond the link, for
// AddrReplace: the kernel makes the others itself. It starts again a few times when the
// list has changed meanwhile.
func addresses(h *netlink.Handle, l netlink.Link) (list []netlink.Addr, err error) {
	const attempts = 5
	var all []netlink.Addr
	for range attempts {
		all, err = h.AddrList(l, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	for _, a := range all {
		if a.Scope == unix.RT_SCOPE_UNIVERSE {
			list = append(list, again(a))
		}
	}
	return list, err
}

// again is an address as it was given to an interface: without the flags, which are for
// the kernel to find out, without its label, which names the interface, and for ever.
func again(a netlink.Addr) netlink.Addr {
	a = netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Scope: a.Scope, Broadcast: a.Broadcast}
	if a.Broadcast == nil {
		a.Broadcast = noBroadcast
	}
	return a
}

// noBroadcast keeps package netlink from computing a broadcast address where none is
// given.
var noBroadcast = net.IPv4zero
