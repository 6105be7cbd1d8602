package network

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	testinside "mayfly/nsexec/inside"
	"mayfly/runtime/network/address"
)

// isInside runs the calling test in a process of its own, in new user, network and
// mount namespaces, where it is root, and /run is empty. It returns true there, and
// false in the test that waits for that process. No part of the host's network is
// touched.
func isInside(t *testing.T) bool {
	t.Helper()
	if !testinside.RunsIn(t, unix.CLONE_NEWNET|unix.CLONE_NEWNS) {
		return false
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatalf("mount a tmpfs at /run: %v", err)
	}
	return true
}

// A container is a network namespace, and a thread in it.
type container struct {
	netns int
	do    chan func()
}

// newContainer makes a network namespace. Everything in it goes with the test.
func newContainer(t *testing.T) *container {
	t.Helper()
	c := &container{do: make(chan func())}
	made := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			c.netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		made <- err
		for f := range c.do {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(c.do)
		unix.Close(c.netns)
	})
	return c
}

// run runs a function on the container's thread.
func (c *container) run(f func() error) error {
	result := make(chan error)
	c.do <- func() { result <- f() }
	return <-result
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sockets counts the open sockets of the process.
func sockets(t *testing.T) (count int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}

// addressesOf lists the addresses of an interface that reach beyond the link, as ip(8)
// writes them.
func addressesOf(name string) (list []string, err error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	all, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	for _, a := range all {
		if a.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		text := a.IPNet.String()
		if a.Peer != nil {
			text += " peer " + a.Peer.String()
		}
		if a.Broadcast != nil {
			text += " brd " + a.Broadcast.String()
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list, err
}

// claimed is a lease of an address of the default range.
func claimed(t *testing.T, name string, owner uint32) *Lease {
	t.Helper()
	l, err := Claim(address.DefaultRange, name, owner)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// connected is a lease by which a container is connected.
func connected(t *testing.T, c *container, name string, owner uint32) *Lease {
	t.Helper()
	l := claimed(t, name, owner)
	if err := l.Connect(c.netns); err != nil {
		t.Fatal(err)
	}
	if err := c.run(l.Configure); err != nil {
		t.Fatal(err)
	}
	return l
}
