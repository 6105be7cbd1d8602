package nsexec

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a new network is told.
var (
	zeroText   = [...]byte{'0', '\n'}
	loopbackUp = interfaceUp("lo")
)

// interfaceUp is struct ifreq of netdevice(7) for SIOCSIFFLAGS.
func interfaceUp(name string) (r [40]byte) {
	copy(r[:unix.IFNAMSIZ], name)
	binary.NativeEndian.PutUint16(r[unix.IFNAMSIZ:], unix.IFF_UP)
	return r
}

// NewNetwork makes a network namespace and returns a descriptor of it, which the caller owns. There is nothing in it but the
// loopback interface, which is up, and everybody in it may bind every port. It belongs to a user namespace in
// which nobody lives, so that it takes no CAP_NET_ADMIN to set it up, and nobody in it has that.
//
// The thread needs the host's procfs at /proc, and CAP_SYS_ADMIN and CAP_SETUID permitted. ENOSPC says that the
// administrator allows no more namespaces (user.max_net_namespaces). See network_namespaces(7).
func NewNetwork() (fd int, err error) {
	e, err := newErrand(8)
	if err != nil {
		return -1, err
	}
	e.must("unshare", unix.SYS_UNSHARE, number(unix.CLONE_NEWUSER|unix.CLONE_NEWNET))
	socket := e.must("socket", unix.SYS_SOCKET, number(unix.AF_INET), number(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), &zero)
	e.must("loopback interface", unix.SYS_IOCTL, &socket.result, number(unix.SIOCSIFFLAGS), address(unsafe.Pointer(&loopbackUp)))
	e.must("close", unix.SYS_CLOSE, &socket.result)
	port := e.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", unix.O_WRONLY)
	e.must("write ip_unprivileged_port_start", unix.SYS_WRITE, &port.result, address(unsafe.Pointer(&zeroText)), number(len(zeroText)))
	e.must("close", unix.SYS_CLOSE, &port.result)
	opened := e.open("/proc/self/ns/net", unix.O_RDONLY)
	if err := e.run(); err != nil {
		return -1, err
	}
	return int(opened.result), nil
}

// EnterNetwork moves the calling thread into a network namespace. It needs CAP_SYS_ADMIN.
func EnterNetwork(fd int) error {
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns to a network: %w", err)
	}
	return nil
}
