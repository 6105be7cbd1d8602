package network

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/network/address"
)

// Each address that a container has had has a file beside the leases, which names the
// owner of that container as text. The file is written before the rules let the owner
// reach the address, and stays until they do no more. So the next launch that gets the
// address knows which element of the set it has to take away, whatever became of the
// process before. All of this happens while the lease is held.
//
// An element outlives its container: its address then leads nowhere. The kernel takes
// 13 ms to delete an element, in which it waits for all processors, and 0.02 ms to add
// one. So the element is deleted when the address goes to another user, or when root
// calls `runtime gc`.

// ownerPrefix begins the names of the files.
const ownerPrefix = "owner."

// admitOwner lets the owner of the container reach the address from the host, and no
// owner of an earlier container.
func (l *Lease) admitOwner() error {
	rules, err := openRules()
	if err != nil {
		return err
	}
	defer rules.Close()
	fd, err := unix.Open(Directory+"/"+ownerPrefix+l.Address.String(), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = replaceOwner(rules, fd, l.Address, l.Owner)
		unix.Close(fd)
	}
	// Somebody may have flushed all rules of the host, as the restart of a firewall
	// does.
	if err == unix.ENOENT {
		if err = translate(l.Range); err == nil {
			err = changeOwner(rules, unix.NFT_MSG_NEWSETELEM, l.Address, l.Owner)
		}
	}
	if err != nil {
		return fmt.Errorf("let user %d reach %s: %w", l.Owner, l.Address, err)
	}
	return nil
}

// replaceOwner deletes the element of the owner that a file names, if it is another
// user's, and adds one for the new owner.
func replaceOwner(rules *nl.NetlinkSocket, fd int, a address.Address, owner uint32) error {
	before, known, err := readOwner(fd)
	if err != nil {
		return err
	}
	if known && before != owner {
		if err := changeOwner(rules, unix.NFT_MSG_DELSETELEM, a, before); err != nil && err != unix.ENOENT {
			return err
		}
	}
	if !known || before != owner {
		if err := writeOwner(fd, owner); err != nil {
			return err
		}
	}
	return changeOwner(rules, unix.NFT_MSG_NEWSETELEM, a, owner)
}

// ownedBy tells whether the last container that had an address was this user's.
func ownedBy(dir *os.File, a address.Address, uid uint32) bool {
	fd, err := unix.Openat(int(dir.Fd()), ownerPrefix+a.String(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	owner, known, err := readOwner(fd)
	return err == nil && known && owner == uid
}

// forgetOwners deletes the elements of addresses that no container has, among the names
// of a directory. Only root calls it, since it takes long. It holds one address at a
// time.
func forgetOwners(dir *os.File, names []string) error {
	rules, err := openRules()
	if err != nil {
		return err
	}
	defer rules.Close()
	for _, name := range names {
		text, is := strings.CutPrefix(name, ownerPrefix)
		a, ok := address.ParseAddress(text)
		if !is || !ok {
			continue
		}
		if err := forgetOwner(rules, dir, a); err != nil {
			return fmt.Errorf("forget who owned %s: %w", a, err)
		}
	}
	return nil
}

func forgetOwner(rules *nl.NetlinkSocket, dir *os.File, a address.Address) error {
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
		if err = changeOwner(rules, unix.NFT_MSG_DELSETELEM, a, owner); err == unix.ENOENT {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(unix.Unlinkat(int(dir.Fd()), name, 0), unix.Unlinkat(int(dir.Fd()), a.String(), 0))
}

// readOwner reads the owner that a file names. A file that names none is empty, or was
// cut while it was written: then no element was added.
func readOwner(fd int) (owner uint32, known bool, err error) {
	var text [16]byte
	n, err := unix.Pread(fd, text[:], 0)
	if err != nil || n == 0 {
		return 0, false, err
	}
	id, err := strconv.ParseUint(string(text[:n]), 10, 32)
	return uint32(id), err == nil, nil
}

func writeOwner(fd int, owner uint32) error {
	if err := unix.Ftruncate(fd, 0); err != nil {
		return err
	}
	return file.WriteFD(fd, strconv.AppendUint(nil, uint64(owner), 10))
}
