package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/network/address"
)

// Directory is where leases are: an empty file for each, whose name is the address, and
// which is marked as long as a container has it. Only root can enter.
const Directory = "/run/mayfly-network"

// ErrExhausted means that every address of the range is some container's.
var ErrExhausted = errors.New("every address is in use")

// A Lease is an address that nobody else has. It lasts until all descriptors of its file are closed: with the
// process, at the latest.
type Lease struct {
	Address address.Address
	Range   address.Range
	Owner   uint32 // who may reach it from the host, besides root
	file    *os.File
}

// File is the descriptor that holds the lease, still owned by it.
func (l *Lease) File() *os.File { return l.file }

// Held is the lease of a container whose network another one has joined: of the same file.
func Held(a address.Address, f *os.File) *Lease { return &Lease{Address: a, file: f} }

// Claim takes an address that is free for the container of an owner; which one, the
// name decides where it can. The thread must act on files as root. The holder must
// Release it.
func Claim(r address.Range, name string, owner uint32) (*Lease, error) {
	dir, err := openDirectory(lock.TurnShared)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	h := fnv.New32a()
	h.Write([]byte(name))
	begin := int(h.Sum32() % uint32(r.Count()))
	for i := range r.Count() {
		address := r.At((begin + i) % r.Count())
		f, err := take(dir, address.String())
		if err == unix.EWOULDBLOCK {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lease of %s in %s: %w", address, Directory, err)
		}
		return &Lease{address, r, owner, f}, nil
	}
	return nil, fmt.Errorf("%w of %s, the policy's network-range", ErrExhausted, r)
}

// openDirectory opens the directory in a turn: shared for as long as a lease is being
// taken, alone where the bridge is removed, which is for root: nobody else's process,
// which its caller can stop, may keep others waiting.
func openDirectory(turn func(fd int) error) (*os.File, error) {
	if err := unix.Mkdir(Directory, 0o700); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("make %s: %w", Directory, file.ReadOnly(err, Directory))
	}
	fd, err := unix.Open(Directory, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", Directory, err)
	}
	if err := turn(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("turn of %s: %w", Directory, err)
	}
	return os.NewFile(uintptr(fd), Directory), nil
}

// take opens and marks a file that is still there when it is marked. EWOULDBLOCK says
// that somebody has it.
func take(dir *os.File, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		taken, err := lock.Mark(fd)
		if err == nil && !taken {
			err = unix.EWOULDBLOCK
		}
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && st.Nlink > 0 {
			return os.NewFile(uintptr(fd), name), nil
		}
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
	}
}

// Release gives the lease up. If nobody else holds it, as a container does that has joined the network, the address and its
// interface go. The thread must act on files as root, and needs CAP_NET_ADMIN.
func (l *Lease) Release() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	dir, err := openDirectory(lock.TurnShared)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = remove(dir, l.Address)
	return err
}

// remove removes a lease that nobody has, and what belongs to it.
func remove(dir *os.File, a address.Address) (gone bool, err error) {
	f, err := take(dir, a.String())
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	c, err := dial()
	if err != nil {
		return false, err
	}
	defer c.close()
	err = c.remove(hostName(a))
	if err == unix.EPERM {
		return false, nil // the policy lets nobody have one any more, and the grant has no CAP_NET_ADMIN: root collects it
	}
	if err != nil {
		return false, fmt.Errorf("remove interface %s: %w", hostName(a), err)
	}
	return true, unix.Unlinkat(int(dir.Fd()), a.String(), 0)
}

// Collect removes the leases that nobody has any more: for a user their own, for root
// all, and with the last of them the bridge and its rules. It tells what it has
// removed. The thread must act on files as root, and needs CAP_NET_ADMIN.
func Collect(h here.Here) (removed []string, err error) {
	if _, err := os.Stat(Directory); err != nil || h.Rootless() {
		return nil, nil // no container ever had a private network
	}
	dir, err := openDirectory(lock.TurnShared)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := listNames(dir)
	if err != nil {
		return nil, err
	}
	root := os.Getuid() == 0
	for _, name := range names {
		address, ok := address.ParseAddress(name)
		if !ok || !root && !ownedBy(dir, address, uint32(os.Getuid())) {
			continue
		}
		gone, err := remove(dir, address)
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, "network "+name)
		}
	}
	if !root {
		return removed, nil
	}
	if err := forgetOwners(dir, names); err != nil {
		return removed, err
	}
	gone, err := removeUnused(dir)
	if gone {
		removed = append(removed, "network "+Bridge)
	}
	return removed, err
}

// removeUnused removes the bridge where no container has an address. Meanwhile nobody takes
// one. A turn that somebody has is not waited for: it is for the next time.
func removeUnused(dir *os.File) (bool, error) {
	if taken, err := lock.TryTurn(int(dir.Fd())); err != nil || !taken {
		return false, err
	}
	names, err := listNames(dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if _, used := address.ParseAddress(name); used {
			return false, nil
		}
	}
	return removeBridge()
}

// listNames lists the directory from its beginning.
func listNames(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}
