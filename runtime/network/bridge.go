// Package network gives a container a network of its own that leads outside: a pair of interfaces, one end of which is in the
// container and the other on a bridge of Mayfly's own, an address of a range, and address translation.
package network

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

const (
	// Bridge is the name of the bridge.
	Bridge = "mayfly0"
	// inside is the name of a container's interface, in the container.
	inside = "eth0"
	// bridgeMAC tells our bridge from another of that name: it is locally administered.
	bridgeMAC = "\x02mayfl"
	nft       = "/usr/sbin/nft"
)

// ErrTaken means that something that is not Mayfly's has the bridge's name.
var ErrTaken = errors.New("is there and is not Mayfly's")

// hostName is the name of a container's interface on the host.
func hostName(a address.Address) string { return fmt.Sprintf("mf%08x", uint32(a)) }

// Connect connects a network namespace with the bridge, which is made where it is not there. The thread must be in the host's network, act on
// files as root, and needs CAP_NET_ADMIN.
func (l *Lease) Connect(netns int) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.close()
	bridge, err := bridgeOf(l.Range, c)
	if err != nil {
		return err
	}
	if err := l.admitOwner(); err != nil {
		return err
	}
	name := hostName(l.Address)
	pair := func() error {
		return c.add(name, "veth", func(m *message) { m.attribute(unix.IFLA_MASTER, number(bridge.index)) }, func(m *message) {
			const peer = 1 // VETH_INFO_PEER
			m.nest(peer, func() {
				m.data = append(m.data, ifinfo(0, 0, 0, 0)...)
				m.attribute(unix.IFLA_IFNAME, text(inside)).attribute(unix.IFLA_NET_NS_FD, number(netns))
			})
		})
	}
	err = pair()
	if err == unix.EEXIST { // of a container that was killed, whose network the kernel is still removing
		if err = c.remove(name); err == nil {
			err = pair()
		}
	}
	if err != nil {
		return fmt.Errorf("make a pair of interfaces: %w", err)
	}
	port, err := c.link(name)
	if err == nil {
		err = c.isolate(port.index)
	}
	if err != nil {
		return fmt.Errorf("isolate %s: %w", name, errors.Join(err, c.remove(name)))
	}
	return nil
}

// Configure sets up the container's end. The thread must be in the container's network, and needs CAP_NET_ADMIN.
func (l *Lease) Configure() error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.close()
	end, err := c.link(inside)
	if err == nil {
		err = c.address(end.index, l.Address, l.Range)
	}
	if err == nil {
		err = c.up(end.index)
	}
	if err == nil {
		err = c.route(l.Range.Gateway())
	}
	if err != nil {
		return fmt.Errorf("set up %s: %w", inside, err)
	}
	return nil
}

// alias is what the bridge bears when it is complete: it is made anew where an older
// version made it, whose alias had no colon.
func aliasOf(r address.Range) string { return aliasPrefix + r.String() }

const aliasPrefix = "mayfly: "

// bridgeOf finds the bridge, or makes it.
func bridgeOf(r address.Range, c *conn) (link, error) {
	l, err := c.link(Bridge)
	switch {
	case err == nil && l.mac != bridgeMAC:
		return l, fmt.Errorf("interface %s %w: rename or remove it", Bridge, ErrTaken)
	case err == nil && l.alias == aliasOf(r):
		return l, nil
	case err == nil && strings.HasPrefix(l.alias, aliasPrefix):
		return l, fmt.Errorf("the bridge %s is for %q: when no container uses it, `runtime gc` by root removes it", Bridge, strings.TrimPrefix(l.alias, aliasPrefix))
	}
	if l, err = makeBridge(r, c); err != nil {
		return l, fmt.Errorf("make the bridge %s: %w", Bridge, err)
	}
	return l, nil
}

// makeBridge makes the bridge and what belongs to it, or what is missing of that. Several may do so at the same time, and each may be stopped or
// killed by its caller at any moment: so nobody waits for another, every step can be taken twice, and the alias, which is
// the last, says that all have been.
func makeBridge(r address.Range, c *conn) (link, error) {
	if _, err := os.Stat(nft); err != nil {
		return link{}, fmt.Errorf("there is no %s, which translates addresses: install nftables", nft)
	}
	err := c.add(Bridge, "bridge", func(m *message) { m.attribute(unix.IFLA_ADDRESS, []byte(bridgeMAC)) }, nil)
	if err != nil && err != unix.EEXIST {
		return link{}, err
	}
	l, err := c.link(Bridge)
	if err != nil {
		return l, err
	}
	if err := c.address(l.index, r.Gateway(), r); err != nil && err != unix.EEXIST {
		return l, err
	}
	if err := translate(r); err != nil {
		return l, err
	}
	if err := withoutIPv6(); err != nil {
		return l, err
	}
	if err := setForwarding("0", forwarded); err != nil {
		return l, err
	}
	return l, c.setAlias(l.index, aliasOf(r))
}

// removeBridge removes the bridge and the rules, where they are ours.
func removeBridge() (removed bool, err error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	defer c.close()
	l, err := c.link(Bridge)
	if err == unix.ENODEV || err == nil && l.mac != bridgeMAC {
		return false, nil
	}
	if err == nil {
		err = runNFT("table ip mayfly\ndelete table ip mayfly\n")
	}
	if err == nil {
		err = setForwarding(forwarded, "0")
	}
	if err == nil {
		err = c.remove(Bridge)
	}
	if err != nil {
		return false, fmt.Errorf("remove the bridge %s: %w", Bridge, err)
	}
	return true, nil
}
