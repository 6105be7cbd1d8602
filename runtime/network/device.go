package network

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Device is an interface of the host's that a container takes over, as long as it runs: the kernel gives a physical one back
// when the container's network goes, and removes a virtual one.
type Device struct {
	Name      string
	addresses [][]byte // struct ifaddrmsg with attributes, of those that reach beyond the link
}

// Take moves an interface of the thread's network into another one. It needs CAP_NET_ADMIN in both.
func Take(name string, netns int) (*Device, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	l, err := c.link(name)
	if errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("interface %s: the host has none of that name, `ip link` lists them", name)
	}
	d := &Device{Name: name}
	if err == nil {
		d.addresses, err = c.addresses(l.index)
	}
	if err == nil {
		_, err = c.do(newMessage(unix.RTM_NEWLINK, 0, ifinfo(0, l.index, 0, 0)...).attribute(unix.IFLA_NET_NS_FD, number(netns)))
	}
	if err != nil {
		return nil, fmt.Errorf("move interface %s into the container: %w", name, err)
	}
	return d, nil
}

// Configure gives the interface the addresses that it had, and brings it up. The thread must be in the container's network.
func (d *Device) Configure() error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.close()
	l, err := c.link(d.Name)
	if err == nil {
		err = c.up(l.index)
	}
	for _, a := range d.addresses {
		if err == nil {
			binary.NativeEndian.PutUint32(a[4:], uint32(l.index))
			_, err = c.do(newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, a...))
		}
	}
	if err != nil {
		return fmt.Errorf("set up interface %s in the container: %w", d.Name, err)
	}
	return nil
}

// addresses are those of an interface that reach beyond the link: the kernel makes the others.
func (c *conn) addresses(index int) (list [][]byte, err error) {
	all, err := c.dump(newMessage(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg)...))
	for _, a := range all {
		if len(a) < unix.SizeofIfAddrmsg || int(binary.NativeEndian.Uint32(a[4:])) != index || a[3] != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		m := &message{append([]byte{}, a[:unix.SizeofIfAddrmsg]...)}
		each(a[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
			switch kind {
			case unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST:
				m.attribute(kind, value)
			}
		})
		m.data[2] = 0 // flags are for the kernel to find out
		list = append(list, m.data)
	}
	return list, err
}
