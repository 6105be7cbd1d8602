package network

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// answerWithin bounds the wait for the kernel's answer on a netlink socket. The kernel
// answers before the system call that asks returns: the bound is for an answer that was
// lost.
const answerWithin = 10 * time.Second

// open opens a handle for interfaces, addresses and routes: see rtnetlink(7). It acts
// in the network namespace that the thread is in now, wherever the thread goes later,
// and with the capabilities of both this moment and the moment of each request. The
// caller must Close the handle: an open socket keeps its network namespace alive.
//
// The functions of package netlink that have no handle open a socket at each call, with
// another bound. This package does not use them.
func open() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(answerWithin); err != nil {
		h.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return h, nil
}

// find finds an interface by its name. ENODEV says that there is none.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, unix.ENODEV
	}
	return l, err
}

// removeInterface removes an interface, if it is there.
func removeInterface(h *netlink.Handle, name string) error {
	l, err := find(h, name)
	if err == nil {
		err = h.LinkDel(l)
	}
	if err == unix.ENODEV {
		return nil
	}
	return err
}

// attributes are those of an interface that is to be made: the kernel decides about all
// that is not set.
func attributes(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// ipOf returns an address as package netlink takes it.
func ipOf(a address.Address) net.IP {
	b := a.Bytes()
	return b[:]
}
