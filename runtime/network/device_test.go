package network

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAnInterfaceMovesWithItsAddresses(t *testing.T) {
	if !isInside(t) {
		return
	}
	if _, err := Take("nosuch", 0); err == nil || !strings.Contains(err.Error(), "interface nosuch: the host has none of that name, `ip link` lists them") {
		t.Errorf("an interface that is not there: %v", err)
	}
	open := sockets(t)
	c := newContainer(t)
	veth := netlink.NewVeth(attributes("device"))
	veth.PeerName, veth.Flags = "wire", net.FlagUp
	must(t, netlink.LinkAdd(veth))
	for text, change := range map[string]func(*netlink.Addr){
		"10.98.0.2/24":   func(*netlink.Addr) {}, // with a broadcast address
		"10.97.0.2/24":   func(a *netlink.Addr) { a.Broadcast = net.IPv4zero },
		"169.254.0.2/16": func(a *netlink.Addr) { a.Scope = unix.RT_SCOPE_LINK },
		"fd00:98::2/64":  func(a *netlink.Addr) { a.Flags = unix.IFA_F_NODAD },
	} {
		a, err := netlink.ParseAddr(text)
		must(t, err)
		change(a)
		must(t, netlink.AddrAdd(veth, a))
	}
	toPeer, err := netlink.ParseAddr("10.96.0.1/32")
	must(t, err)
	toPeer.Peer, err = netlink.ParseIPNet("10.96.0.2/32")
	must(t, err)
	must(t, netlink.AddrAdd(veth, toPeer))
	before, err := addressesOf("device")
	if err != nil || len(before) != 4 {
		t.Fatalf("the interface has %q, %v", before, err)
	}

	d, err := Take("device", c.netns)
	must(t, err)
	if _, err := netlink.LinkByName("device"); err == nil {
		t.Error("the host has it still")
	}
	if len(d.addresses) != len(before) {
		t.Errorf("it takes %v along", d.addresses)
	}
	must(t, c.run(d.Configure))
	must(t, c.run(func() error {
		after, err := addressesOf("device")
		if err != nil || !slices.Equal(after, before) {
			return fmt.Errorf("the interface has %q, and had %q: %w", after, before, err)
		}
		l, err := netlink.LinkByName("device")
		if err == nil && l.Attrs().Flags&net.FlagUp == 0 {
			err = errors.New("the interface is down")
		}
		return err
	}))
	if now := sockets(t); now != open {
		t.Errorf("%d sockets are open, %d were", now, open)
	}
}
