package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/network/address"
)

// Who owned the container that had an address last, and may still be let in by the rules,
// is in a file beside the leases, as text, from before the rules let that user reach the
// address until after they do no more: so who has the address next knows which element
// to take away, whatever became of the process before. All of it happens while the lease
// is locked.
//
// An element outlives its container, whose address then leads nowhere: to delete one takes
// the kernel 13 ms, of waiting for all processors, and to add one 0.02. The next owner of
// the address deletes it, if that is another user, or `runtime gc` by root.

// ownerPrefix begins the names of such files.
const ownerPrefix = "owner."

// admitOwner lets the owner reach the address from the host, and nobody who had it before.
func (l *Lease) admitOwner() error {
	c, err := dialRules()
	if err != nil {
		return err
	}
	defer c.close()
	fd, err := unix.Open(Directory+"/"+ownerPrefix+l.Address.String(), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = c.replaceOwner(fd, l.Address, l.Owner)
		unix.Close(fd)
	}
	if err == unix.ENOENT { // somebody has flushed all rules of the host, a firewall's restart for instance
		if err = translate(l.Range); err == nil {
			err = c.changeOwner(nftAdd, l.Address, l.Owner)
		}
	}
	if err != nil {
		return fmt.Errorf("let user %d reach %s: %w", l.Owner, l.Address, err)
	}
	return nil
}

// replaceOwner takes away the element that a file tells of, if it is another user's, and adds
// one.
func (c *conn) replaceOwner(fd int, a address.Address, owner uint32) error {
	before, known, err := readOwner(fd)
	if err != nil {
		return err
	}
	if known && before != owner {
		if err := c.changeOwner(nftDelete, a, before); err != nil && err != unix.ENOENT {
			return err
		}
	}
	if !known || before != owner {
		if err := writeOwner(fd, owner); err != nil {
			return err
		}
	}
	return c.changeOwner(nftAdd, a, owner)
}

// ownedBy tells whether an address was last a container's of this user.
func ownedBy(dir *os.File, a address.Address, uid uint32) bool {
	fd, err := unix.Openat(int(dir.Fd()), ownerPrefix+a.String(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	owner, known, err := readOwner(fd)
	return err == nil && known && owner == uid
}

// forgetOwners takes away the elements of addresses that no container has. It is for root,
// since it takes long. Each address is held meanwhile, and no other.
func forgetOwners(dir *os.File, names []string) error {
	c, err := dialRules()
	if err != nil {
		return err
	}
	defer c.close()
	for _, name := range names {
		text, is := strings.CutPrefix(name, ownerPrefix)
		a, ok := address.ParseAddress(text)
		if !is || !ok {
			continue
		}
		if err := c.forgetOwner(dir, a); err != nil {
			return fmt.Errorf("forget who owned %s: %w", a, err)
		}
	}
	return nil
}

func (c *conn) forgetOwner(dir *os.File, a address.Address) error {
	lease, err := take(dir, a.String())
	if err == unix.EWOULDBLOCK {
		return nil // a container has it
	}
	if err != nil {
		return err
	}
	defer lease.Close()
	name := ownerPrefix + a.String()
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	owner, known, err := readOwner(fd)
	unix.Close(fd)
	if err == nil && known {
		if err = c.changeOwner(nftDelete, a, owner); err == unix.ENOENT {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(unix.Unlinkat(int(dir.Fd()), name, 0), unix.Unlinkat(int(dir.Fd()), a.String(), 0))
}

func readOwner(fd int) (owner uint32, known bool, err error) {
	var text [16]byte
	n, err := unix.Pread(fd, text[:], 0)
	if err != nil || n == 0 {
		return 0, false, err
	}
	id, err := strconv.ParseUint(string(text[:n]), 10, 32)
	return uint32(id), err == nil, nil // what was cut was followed by no element
}

func writeOwner(fd int, owner uint32) error {
	if err := unix.Ftruncate(fd, 0); err != nil {
		return err
	}
	return file.WriteFD(fd, strconv.AppendUint(nil, uint64(owner), 10))
}

// What is done with an element of a set, by the kernel's numbers (linux/netfilter/nf_tables.h).
const (
	nftAdd    = 12 // NFT_MSG_NEWSETELEM
	nftDelete = 14 // NFT_MSG_DELSETELEM
)

// dialRules opens a netlink socket by which rules of the thread's network are changed.
// The holder must close it.
func dialRules() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &conn{fd: fd}, nil
}

// changeOwner adds an element to the set of owners, or deletes it; one that is there is
// added without an error. ENOENT says that there is no such element, or no such set.
func (c *conn) changeOwner(what uint16, a address.Address, owner uint32) error {
	const (
		subsystem      = 10 // NFNL_SUBSYS_NFTABLES
		begin, end     = 16, 17
		table, set     = 1, 2 // NFTA_SET_ELEM_LIST_TABLE, _SET
		elements, elem = 3, 1 // _ELEMENTS, NFTA_LIST_ELEM
		key, value     = 1, 1 // NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
	)
	m := newMessage(subsystem<<8|what, unix.NLM_F_CREATE, unix.AF_INET, 0, 0, 0)
	m.attribute(table, text(nftTable)).attribute(set, text(nftOwners))
	m.nest(elements|unix.NLA_F_NESTED, func() {
		m.nest(elem|unix.NLA_F_NESTED, func() {
			m.nest(key|unix.NLA_F_NESTED, func() { m.attribute(value, append(a.Slice(), number(int(owner))...)) })
		})
	})
	transaction := []*message{newMessage(begin, 0, 0, 0, 0, subsystem), m, newMessage(end, 0, 0, 0, 0, subsystem)}
	var data []byte
	for _, one := range transaction {
		if one != m { // it alone is acknowledged
			binary.NativeEndian.PutUint16(one.data[6:], unix.NLM_F_REQUEST)
		}
		binary.NativeEndian.PutUint32(one.data, uint32(len(one.data)))
		c.seq++
		binary.NativeEndian.PutUint32(one.data[8:], c.seq)
		data = append(data, one.data...)
	}
	if err := unix.Sendto(c.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return acknowledged(c.fd, c.seq-1)
}

// acknowledged waits for what the kernel says of the message with a sequence number.
// The answer is there when sendto returns.
func acknowledged(fd int, seq uint32) error {
	buffer := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for rest := buffer[:n]; len(rest) >= headerSize+4; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < headerSize+4 || size > len(rest) {
				return errors.New("netlink: an acknowledgement is cut")
			}
			code := int32(binary.NativeEndian.Uint32(rest[headerSize:]))
			if binary.NativeEndian.Uint16(rest[4:]) == unix.NLMSG_ERROR && (code != 0 || binary.NativeEndian.Uint32(rest[8:]) == seq) {
				if code != 0 {
					return unix.Errno(-code)
				}
				return nil
			}
			rest = rest[min((size+3)&^3, len(rest)):]
		}
	}
}
