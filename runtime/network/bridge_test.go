package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/network/address"
)

func TestAContainerIsConnectedAndLeavesNothing(t *testing.T) {
	if !isInside(t) {
		return
	}
	withForwarding(t, "0")
	open := sockets(t)
	c := newContainer(t)
	l := connected(t, c, "first", someone)

	bridge, err := netlink.LinkByName(BridgeName)
	must(t, err)
	if a := bridge.Attrs(); !isOurs(bridge) || a.Alias != "mayfly: 10.87.0.0/16" || a.Flags&net.FlagUp == 0 {
		t.Errorf("the bridge is %+v", a)
	}
	if got, err := addressesOf(BridgeName); err != nil || !slices.Equal(got, []string{"10.87.0.1/16"}) {
		t.Errorf("the bridge has %q, %v", got, err)
	}
	port, err := netlink.LinkByName(hostName(l.Address))
	must(t, err)
	if a := port.Attrs(); a.MasterIndex != bridge.Attrs().Index || a.Flags&net.FlagUp == 0 || a.TxQLen != 1000 {
		t.Errorf("the port is %+v", a)
	}
	if p, err := netlink.LinkGetProtinfo(port); err != nil || !p.Isolated {
		t.Errorf("the port is not isolated: %+v, %v", p, err)
	}
	if off, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + BridgeName + "/disable_ipv6"); err == nil && string(off) != "1\n" {
		t.Errorf("the bridge has IP version 6: %q", off)
	}
	if got := owners(t); !slices.Equal(got, []string{element(l.Address, someone)}) {
		t.Errorf("owners are %q", got)
	}
	if got := forwarding(t, BridgeName) + forwarding(t, "lo") + forwarding(t, "default") + forwarding(t, "all"); got != "2220" {
		t.Errorf("the bridge, lo, later interfaces and all forward: %s", got)
	}
	reaches(t, c, l)

	must(t, l.Release())
	if _, err := netlink.LinkByName(hostName(l.Address)); err == nil {
		t.Error("the port is left")
	}
	removed, err := Collect(here.Here{})
	if err != nil || !slices.Equal(removed, []string{"network " + BridgeName}) {
		t.Errorf("collected: %q, %v", removed, err)
	}
	if _, err := netlink.LinkByName(BridgeName); err == nil {
		t.Error("the bridge is left")
	}
	if left := ruleset(t, "tables"); left != "" {
		t.Errorf("rules are left: %s", left)
	}
	if got := forwarding(t, "lo") + forwarding(t, "default"); got != "00" {
		t.Errorf("lo and later interfaces forward: %s", got)
	}
	if left, err := os.ReadDir(Directory); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if now := sockets(t); now != open {
		t.Errorf("%d sockets are open, %d were", now, open)
	}
}

// reaches checks that a container has its address, and reaches the host by its gateway.
func reaches(t *testing.T, c *container, l *Lease) {
	t.Helper()
	listener, err := net.Listen("tcp4", l.Range.Gateway().String()+":0")
	must(t, err)
	defer listener.Close()
	must(t, c.run(func() error {
		if got, err := addressesOf(inside); err != nil || !slices.Equal(got, []string{l.Address.String() + "/16"}) {
			return fmt.Errorf("the container has %q, %w", got, err)
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
		if err != nil || len(routes) != 1 || !routes[0].Gw.Equal(ipOf(l.Range.Gateway())) {
			return fmt.Errorf("the default routes are %v, %w", routes, err)
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: l.Range.Gateway().Bytes(), Port: listener.Addr().(*net.TCPAddr).Port})
	}))
	peer, err := listener.Accept()
	must(t, err)
	defer peer.Close()
	if got := peer.RemoteAddr().(*net.TCPAddr).IP.String(); got != l.Address.String() {
		t.Errorf("the host is reached by %s, the container has %s", got, l.Address)
	}
}

func TestLaunchesMakeTheBridgeAtTheSameTime(t *testing.T) {
	if !isInside(t) {
		return
	}
	const count = 8
	var group sync.WaitGroup
	problems := make(chan error, count)
	containers := make([]*container, count)
	leases := make([]*Lease, count)
	for i := range count {
		containers[i], leases[i] = newContainer(t), claimed(t, "one name", uint32(someone+i))
	}
	for i := range count {
		group.Go(func() {
			err := leases[i].Connect(containers[i].netns)
			if err == nil {
				err = containers[i].run(leases[i].Configure)
			}
			problems <- err
		})
	}
	group.Wait()
	close(problems)
	for err := range problems {
		if err != nil {
			t.Error(err)
		}
	}
	var want []string
	for i, l := range leases {
		reaches(t, containers[i], l)
		want = append(want, element(l.Address, uint32(someone+i)))
	}
	slices.Sort(want)
	if got := owners(t); !slices.Equal(got, want) {
		t.Errorf("owners are %q, want %q", got, want)
	}
}

// The next owner of an address is let in, and the one before is not.
func TestAnAddressGoesToAnotherOwner(t *testing.T) {
	if !isInside(t) {
		return
	}
	l := connected(t, newContainer(t), "a name", someone)
	must(t, l.Release())
	if got := owners(t); !slices.Equal(got, []string{element(l.Address, someone)}) {
		t.Fatalf("owners after the container are %q", got)
	}
	next := connected(t, newContainer(t), "a name", another)
	if next.Address != l.Address {
		t.Fatalf("the next container has %v, not %v", next.Address, l.Address)
	}
	if got := owners(t); !slices.Equal(got, []string{element(l.Address, another)}) {
		t.Errorf("owners are %q", got)
	}
	// A firewall that is loaded anew takes every rule away.
	must(t, next.Release())
	must(t, exec.Command(nft, "flush", "ruleset").Run())
	last := connected(t, newContainer(t), "a name", someone)
	if got := owners(t); !slices.Equal(got, []string{element(last.Address, someone)}) {
		t.Errorf("owners after the rules were lost are %q", got)
	}
	if removed, err := Collect(here.Here{}); err != nil || len(removed) > 0 {
		t.Errorf("collected while a container has the address: %q, %v", removed, err)
	}
	if got := owners(t); len(got) != 1 {
		t.Errorf("owners after that are %q", got)
	}
}

// A container was killed, and the kernel has not removed its interface yet.
func TestTheInterfaceOfAKilledContainerIsReplaced(t *testing.T) {
	if !isInside(t) {
		return
	}
	dead, c := newContainer(t), newContainer(t)
	l := connected(t, dead, "killed", someone)
	must(t, l.File().Close())
	before, err := netlink.LinkByName(hostName(l.Address))
	must(t, err)
	next := connected(t, c, "killed", someone)
	if next.Address != l.Address {
		t.Fatalf("the next container has %v, not %v", next.Address, l.Address)
	}
	after, err := netlink.LinkByName(hostName(next.Address))
	if err != nil || before.Attrs().Index == after.Attrs().Index {
		t.Errorf("the interface is %+v, %v, and was %+v", after, err, before)
	}
	reaches(t, c, next)
	if err := dead.run(func() error { _, err := netlink.LinkByName(inside); return err }); err == nil {
		t.Error("the killed container has its interface")
	}
	// Nobody holds the lease of a killed container: it is collected.
	must(t, next.File().Close())
	if removed, err := Collect(here.Here{}); err != nil || !slices.Equal(removed, []string{"network " + next.Address.String(), "network " + BridgeName}) {
		t.Errorf("collected: %q, %v", removed, err)
	}
}

func TestABridgeThatIsInTheWayIsLeftAlone(t *testing.T) {
	if !isInside(t) {
		return
	}
	c := newContainer(t)
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes(BridgeName)}))
	theirs, err := netlink.LinkByName(BridgeName)
	must(t, err)
	l := claimed(t, "in the way", someone)
	if err := l.Connect(c.netns); !errors.Is(err, ErrTaken) {
		t.Errorf("somebody else's bridge: %v", err)
	}
	must(t, l.Release())
	if removed, err := Collect(here.Here{}); err != nil || len(removed) > 0 {
		t.Errorf("collected: %q, %v", removed, err)
	}
	if now, err := netlink.LinkByName(BridgeName); err != nil || now.Attrs().Index != theirs.Attrs().Index {
		t.Errorf("their bridge is %+v, %v", now, err)
	}
	must(t, netlink.LinkDel(theirs))

	connected(t, c, "of one range", someone)
	other, err := Claim(smallest, "of another", someone)
	must(t, err)
	if err := other.Connect(newContainer(t).netns); err == nil || !strings.Contains(err.Error(), `is for "10.87.0.0/16": when no container uses it, `+"`runtime gc`") {
		t.Errorf("a bridge of another range: %v", err)
	}
	if _, err := netlink.LinkByName(hostName(other.Address)); err == nil {
		t.Error("an interface is left")
	}
}

// The launch was stopped before the bridge was complete, or an older version has made
// it.
func TestABridgeThatIsNotCompleteIsCompleted(t *testing.T) {
	if !isInside(t) {
		return
	}
	a := attributes(BridgeName)
	a.HardwareAddr, a.Alias = net.HardwareAddr(bridgeMAC), "mayfly 10.87.0.0/16"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: a}))
	c := newContainer(t)
	l := connected(t, c, "a name", someone)
	bridge, err := netlink.LinkByName(BridgeName)
	if err != nil || bridge.Attrs().Alias != aliasOf(address.DefaultRange) {
		t.Errorf("the bridge is %+v, %v", bridge, err)
	}
	must(t, netlink.LinkSetUp(bridge)) // as it is where Mayfly begins
	reaches(t, c, l)
}

// What fails leaves no interface.
func TestAPairThatIsNotConnectedIsRemoved(t *testing.T) {
	if !isInside(t) {
		return
	}
	c := newContainer(t)
	h, err := open()
	must(t, err)
	defer h.Close()
	for what, bridge := range map[string]netlink.Link{
		"no bridge":                &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: 1 << 20}},
		"what is not a bridge, lo": &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: 1}},
	} {
		if err := addPair(h, "mf-test", bridge, c.netns); err == nil || !strings.HasPrefix(err.Error(), "make a pair of interfaces: ") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := find(h, "mf-test"); err != unix.ENODEV {
			t.Errorf("%s: the host's end: %v", what, err)
		}
		if err := c.run(func() error { _, err := netlink.LinkByName(inside); return err }); err == nil {
			t.Errorf("%s: the container's end is left", what)
		}
	}
}

// An interface's name has fifteen characters at most.
func TestTheInterfaceOfAnAddressHasAName(t *testing.T) {
	if got := hostName(10<<24 | 87<<16 | 2); got != "mf0a570002" {
		t.Errorf("it is %s", got)
	}
}

// One whose removal was prevented, as by a caller who kills all of their processes, is
// collected by root.
func TestWhatNobodyHasRemovedIsCollected(t *testing.T) {
	if !isInside(t) {
		return
	}
	l := connected(t, newContainer(t), "left over", someone)
	must(t, l.File().Close())
	must(t, os.Remove(Directory+"/"+l.Address.String()))
	removed, err := Collect(here.Here{})
	if err != nil || !slices.Equal(removed, []string{"network " + l.Address.String(), "network " + BridgeName}) {
		t.Errorf("collected: %q, %v", removed, err)
	}
	if _, err := netlink.LinkByName(hostName(l.Address)); err == nil {
		t.Error("the port is left")
	}
}
