package nsexec

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What NewNetwork has the kernel read.
var (
	zeroText   = [...]byte{'0', '\n'}
	loopbackUp = interfaceUp("lo")
)

// interfaceUp is the struct ifreq of netdevice(7) by which SIOCSIFFLAGS brings an
// interface up.
func interfaceUp(name string) (r [40]byte) {
	copy(r[:unix.IFNAMSIZ], name)
	binary.NativeEndian.PutUint16(r[unix.IFNAMSIZ:], unix.IFF_UP)
	return r
}

// NewNetwork makes a network namespace in which no process lives, and returns a
// descriptor of it, which the caller owns. The only interface in it is loopback, which
// is up; every process in it may bind every port (net.ipv4.ip_unprivileged_port_start
// is 0).
//
// The namespace belongs to a user namespace that is made for it, in which no process
// lives either. So making it takes no CAP_NET_ADMIN, and no process that enters it has
// that capability there.
//
// The thread need not be locked. It needs the procfs of its PID namespace at /proc, and
// permitted: CAP_SYS_ADMIN and CAP_SETUID. A root child does the work.
//
// Errors name the step that failed. ENOSPC: user.max_net_namespaces or
// user.max_user_namespaces allows no more. See network_namespaces(7).
func NewNetwork(root Root) (fd int, err error) {
	child, err := newRootChild(root, 8)
	if err != nil {
		return -1, err
	}
	child.must("unshare", unix.SYS_UNSHARE, number(unix.CLONE_NEWUSER|unix.CLONE_NEWNET))
	socket := child.must("socket", unix.SYS_SOCKET, number(unix.AF_INET), number(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), &zero)
	child.must("loopback interface", unix.SYS_IOCTL, &socket.result, number(unix.SIOCSIFFLAGS), address(unsafe.Pointer(&loopbackUp)))
	child.must("close", unix.SYS_CLOSE, &socket.result)
	port := child.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", unix.O_WRONLY)
	child.must("write ip_unprivileged_port_start", unix.SYS_WRITE, &port.result, address(unsafe.Pointer(&zeroText)), number(len(zeroText)))
	child.must("close", unix.SYS_CLOSE, &port.result)
	opened := child.open("/proc/self/ns/net", unix.O_RDONLY)
	if err := child.run(); err != nil {
		return -1, err
	}
	return int(opened.result), nil
}

// EnterNetwork moves the calling thread into the network namespace that a descriptor
// stands for. The thread must be locked, and needs CAP_SYS_ADMIN effective. See
// setns(2).
func EnterNetwork(fd int) error {
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns to a network: %w", err)
	}
	return nil
}
