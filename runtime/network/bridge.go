package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

const (
	// BridgeName is the name of the bridge.
	BridgeName = "mayfly0"
	// inside is the name of a container's interface, in the container.
	inside = "eth0"
	// bridgeMAC tells Mayfly's bridge from another of that name. It is locally
	// administered.
	bridgeMAC = "\x02mayfl"
	nft       = "/usr/sbin/nft"
)

// ErrTaken means that something that is not Mayfly's has the bridge's name.
var ErrTaken = errors.New("is there and is not Mayfly's")

// hostPrefix begins the names of the containers' interfaces on the host.
const hostPrefix = "mf"

// hostName is the name of a container's interface on the host.
func hostName(a address.Address) string { return fmt.Sprintf("%s%08x", hostPrefix, uint32(a)) }

// attached lists the addresses whose interface is on the host.
func attached() (addresses []string, err error) {
	h, err := open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) { // the list may lack what is new
		err = nil
	}
	for _, l := range links {
		text, ours := strings.CutPrefix(l.Attrs().Name, hostPrefix)
		n, notHex := strconv.ParseUint(text, 16, 32)
		if a := address.Address(n); ours && notHex == nil && l.Type() == "veth" && hostName(a) == l.Attrs().Name {
			addresses = append(addresses, a.String())
		}
	}
	return addresses, err
}

// Connect connects a network namespace with the bridge, and makes the bridge if it is
// not there. The thread must be in the host's network namespace, act on files as root,
// and needs CAP_NET_ADMIN.
func (l *Lease) Connect(netns int) error {
	h, err := open()
	if err != nil {
		return err
	}
	defer h.Close()
	bridge, err := bridgeOf(l.Range, h)
	if err != nil {
		return err
	}
	if err := l.admitOwner(); err != nil {
		return err
	}
	return addPair(h, hostName(l.Address), bridge, netns)
}

// addPair makes a pair of interfaces: one is an isolated port of the bridge, the other
// is in a network namespace. After an error neither is left.
func addPair(h *netlink.Handle, name string, bridge netlink.Link, netns int) error {
	err := makePair(h, name, bridge, netns)
	if err != nil {
		err = errors.Join(err, removeInterface(h, name))
	}
	return err
}

func makePair(h *netlink.Handle, name string, bridge netlink.Link, netns int) error {
	a := attributes(name)
	a.Flags, a.MasterIndex = net.FlagUp, bridge.Attrs().Index
	pair := netlink.NewVeth(a)
	pair.PeerName, pair.PeerNamespace = inside, netlink.NsFd(netns)
	err := h.LinkAdd(pair)
	// One of a killed container may be there: the kernel is still removing its network.
	if errors.Is(err, unix.EEXIST) {
		if err = removeInterface(h, name); err == nil {
			err = h.LinkAdd(pair)
		}
	}
	if err != nil {
		return fmt.Errorf("make a pair of interfaces: %w", err)
	}
	// An isolated port does not reach other isolated ports (since Linux 4.18).
	if err := h.LinkSetIsolated(pair, true); err != nil {
		return fmt.Errorf("isolate %s: %w", name, err)
	}
	return nil
}

// Configure sets up the container's end. The thread must be in the container's network
// namespace, and needs CAP_NET_ADMIN.
func (l *Lease) Configure() error {
	h, err := open()
	if err != nil {
		return err
	}
	defer h.Close()
	end, err := find(h, inside)
	if err == nil {
		err = h.AddrAdd(end, addressIn(l.Range, l.Address))
	}
	if err == nil {
		err = h.LinkSetUp(end)
	}
	if err == nil { // what has no other way goes by the gateway
		err = h.RouteAdd(&netlink.Route{Gw: ipOf(l.Range.Gateway())})
	}
	if err != nil {
		return fmt.Errorf("set up %s: %w", inside, err)
	}
	return nil
}

// addressIn is an address of the range as an interface gets it.
func addressIn(r address.Range, a address.Address) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ipOf(a), Mask: net.CIDRMask(r.Bits, 32)}, Broadcast: noBroadcast}
}

// aliasOf is the alias of a bridge that is complete. An older version of Mayfly wrote
// one without a colon: such a bridge is made anew.
func aliasOf(r address.Range) string { return aliasPrefix + r.String() }

const aliasPrefix = "mayfly: "

// isOurs tells whether an interface is Mayfly's bridge.
func isOurs(l netlink.Link) bool { return string(l.Attrs().HardwareAddr) == bridgeMAC }

// bridgeOf finds the bridge, or makes it.
func bridgeOf(r address.Range, h *netlink.Handle) (netlink.Link, error) {
	l, err := find(h, BridgeName)
	switch {
	case err == nil && !isOurs(l):
		return nil, fmt.Errorf("interface %s %w: rename or remove it", BridgeName, ErrTaken)
	case err == nil && l.Attrs().Alias == aliasOf(r):
		return l, nil
	case err == nil && strings.HasPrefix(l.Attrs().Alias, aliasPrefix):
		return nil, fmt.Errorf("the bridge %s is for %q: when no container uses it, `runtime gc` by root removes it",
			BridgeName, strings.TrimPrefix(l.Attrs().Alias, aliasPrefix))
	}
	if l, err = makeBridge(r, h); err != nil {
		return nil, fmt.Errorf("make the bridge %s: %w", BridgeName, err)
	}
	return l, nil
}

// makeBridge makes the bridge and what belongs to it, or what is missing of that.
// Several launches may do so at the same time, and each may be stopped or killed by its
// caller at any moment. So nobody waits for another and every step can be taken twice.
// The alias is the last step: it says that all have been taken.
func makeBridge(r address.Range, h *netlink.Handle) (netlink.Link, error) {
	if _, err := os.Stat(nft); err != nil {
		return nil, fmt.Errorf("there is no %s, which translates addresses: install nftables", nft)
	}
	a := attributes(BridgeName)
	a.Flags, a.HardwareAddr = net.FlagUp, net.HardwareAddr(bridgeMAC)
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	l, err := find(h, BridgeName)
	if err != nil {
		return nil, err
	}
	if err := h.AddrAdd(l, addressIn(r, r.Gateway())); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	if err := translate(r); err != nil {
		return nil, err
	}
	if err := withoutIPv6(); err != nil {
		return nil, err
	}
	if err := setForwarding("0", forwarded); err != nil {
		return nil, err
	}
	return l, h.LinkSetAlias(l, aliasOf(r))
}

// removeBridge removes the bridge and the rules, where they are Mayfly's.
func removeBridge() (removed bool, err error) {
	h, err := open()
	if err != nil {
		return false, err
	}
	defer h.Close()
	l, err := find(h, BridgeName)
	if err == unix.ENODEV || err == nil && !isOurs(l) {
		return false, nil
	}
	if err == nil {
		err = runNFT("table ip mayfly\ndelete table ip mayfly\n")
	}
	if err == nil {
		err = setForwarding(forwarded, "0")
	}
	if err == nil {
		err = removeInterface(h, BridgeName)
	}
	if err != nil {
		return false, fmt.Errorf("remove the bridge %s: %w", BridgeName, err)
	}
	return true, nil
}
