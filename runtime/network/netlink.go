package network

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// A conn is a netlink socket of the network that the thread was in when it was opened: see rtnetlink(7). A library for it
// would be part of every launch, and costs more at its start than what is said here takes. Its holder must close it.
type conn struct {
	fd  int
	seq uint32
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// A message is a netlink message that is being written.
type message struct{ data []byte }

const headerSize = unix.SizeofNlMsghdr

// newMessage begins a message of a kind (RTM_*) with what its attributes follow.
func newMessage(kind, flags uint16, body ...byte) *message {
	m := &message{make([]byte, headerSize, 256)}
	binary.NativeEndian.PutUint16(m.data[4:], kind)
	binary.NativeEndian.PutUint16(m.data[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m.data = append(m.data, body...)
	return m
}

// attribute appends an attribute.
func (m *message) attribute(kind uint16, value []byte) *message {
	return m.nest(kind, func() { m.data = append(m.data, value...) })
}

// nest appends an attribute that has attributes in it, or other structures.
func (m *message) nest(kind uint16, fill func()) *message {
	begin := len(m.data)
	m.data = append(m.data, 0, 0, 0, 0)
	binary.NativeEndian.PutUint16(m.data[begin+2:], kind)
	fill()
	binary.NativeEndian.PutUint16(m.data[begin:], uint16(len(m.data)-begin))
	for len(m.data)%unix.NLA_ALIGNTO != 0 {
		m.data = append(m.data, 0)
	}
	return m
}

func text(s string) []byte { return append([]byte(s), 0) }

func number(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// do sends a message and waits for its acknowledgement. What else was answered is returned, without its header.
func (c *conn) do(m *message) (answer []byte, err error) {
	all, err := c.dump(m)
	if len(all) > 0 {
		answer = all[len(all)-1]
	}
	return answer, err
}

// dump is do where there is any number of answers (NLM_F_DUMP).
func (c *conn) dump(m *message) (answers [][]byte, err error) {
	c.seq++
	binary.NativeEndian.PutUint32(m.data[0:], uint32(len(m.data)))
	binary.NativeEndian.PutUint32(m.data[8:], c.seq)
	if err := unix.Sendto(c.fd, m.data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buffer := make([]byte, 32<<10) // the kernel fills no more with one answer
	for {
		n, _, err := unix.Recvfrom(c.fd, buffer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		for rest := buffer[:n]; len(rest) >= headerSize; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < headerSize || size > len(rest) {
				return nil, errors.New("netlink: a message is cut")
			}
			body, kind := rest[headerSize:size], binary.NativeEndian.Uint16(rest[4:])
			ours := binary.NativeEndian.Uint32(rest[8:]) == c.seq
			rest = rest[min((size+3)&^3, len(rest)):]
			switch {
			case !ours:
			case kind != unix.NLMSG_ERROR && kind != unix.NLMSG_DONE:
				answers = append(answers, append([]byte{}, body...))
			case len(body) < 4:
				return nil, errors.New("netlink: an acknowledgement is cut")
			default:
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return nil, unix.Errno(-code)
				}
				return answers, nil
			}
		}
	}
}

// A link is an interface, as far as it is of interest.
type link struct {
	index int
	alias string
	mac   string // its six bytes
}

// ifinfo is struct ifinfomsg.
func ifinfo(family uint8, index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// link finds an interface by name. ENODEV says that there is none.
func (c *conn) link(name string) (link, error) {
	answer, err := c.do(newMessage(unix.RTM_GETLINK, 0, ifinfo(0, 0, 0, 0)...).attribute(unix.IFLA_IFNAME, text(name)))
	if err != nil {
		return link{}, err
	}
	if len(answer) < unix.SizeofIfInfomsg {
		return link{}, errors.New("netlink: an interface is cut")
	}
	l := link{index: int(binary.NativeEndian.Uint32(answer[4:]))}
	each(answer[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFALIAS:
			l.alias = unix.ByteSliceToString(value)
		case unix.IFLA_ADDRESS:
			l.mac = string(value)
		}
	})
	return l, nil
}

// each calls f with every attribute.
func each(data []byte, f func(kind uint16, value []byte)) {
	for len(data) >= 4 {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return
		}
		f(binary.NativeEndian.Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), data[4:size])
		data = data[min((size+3)&^3, len(data)):]
	}
}

// add makes an interface of a kind, which is up.
func (c *conn) add(name, kind string, more func(m *message), data func(m *message)) error {
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, 0, unix.IFF_UP, unix.IFF_UP)...)
	m.attribute(unix.IFLA_IFNAME, text(name))
	more(m)
	m.nest(unix.IFLA_LINKINFO, func() {
		m.attribute(unix.IFLA_INFO_KIND, []byte(kind))
		if data != nil {
			m.nest(unix.IFLA_INFO_DATA, func() { data(m) })
		}
	})
	_, err := c.do(m)
	return err
}

// remove removes an interface, if it is there.
func (c *conn) remove(name string) error {
	_, err := c.do(newMessage(unix.RTM_DELLINK, 0, ifinfo(0, 0, 0, 0)...).attribute(unix.IFLA_IFNAME, text(name)))
	if err == unix.ENODEV {
		return nil
	}
	return err
}

// up sets an interface up.
func (c *conn) up(index int) error {
	_, err := c.do(newMessage(unix.RTM_NEWLINK, 0, ifinfo(0, index, unix.IFF_UP, unix.IFF_UP)...))
	return err
}

// setAlias gives an interface a text that only people read, and we.
func (c *conn) setAlias(index int, alias string) error {
	_, err := c.do(newMessage(unix.RTM_NEWLINK, 0, ifinfo(0, index, 0, 0)...).attribute(unix.IFLA_IFALIAS, []byte(alias)))
	return err
}

// isolate lets a bridge's port reach no other that is isolated too (since Linux 4.18).
func (c *conn) isolate(index int) error {
	const portIsolated = 33 // IFLA_BRPORT_ISOLATED
	m := newMessage(unix.RTM_SETLINK, 0, ifinfo(unix.AF_BRIDGE, index, 0, 0)...)
	m.nest(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, func() { m.attribute(portIsolated, []byte{1}) })
	_, err := c.do(m)
	return err
}

// address gives an interface an address.
func (c *conn) address(index int, a address.Address, r address.Range) error {
	body := []byte{unix.AF_INET, uint8(r.Bits), 0, unix.RT_SCOPE_UNIVERSE}
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(body, number(index)...)...)
	_, err := c.do(m.attribute(unix.IFA_LOCAL, a.Slice()).attribute(unix.IFA_ADDRESS, a.Slice()))
	return err
}

// route makes all that has no other way go by a gateway.
func (c *conn) route(gateway address.Address) error {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5], body[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	_, err := c.do(newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body...).attribute(unix.RTA_GATEWAY, gateway.Slice()))
	return err
}
