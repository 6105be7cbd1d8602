package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/network/address"
)

// Directory holds the leases: an empty file for each, whose name is the address. The
// file is marked as long as a container has the address. Only root can enter.
const Directory = "/run/mayfly-network"

// ErrExhausted means that every address of the range is some container's.
var ErrExhausted = errors.New("every address is in use")

// A Lease is an address that nobody else has. It lasts until all descriptors of its
// file are closed, which is when the process ends, at the latest.
type Lease struct {
	Address address.Address
	Range   address.Range
	Owner   uint32 // who may reach it from the host, besides root
	file    *os.File
}

// File returns the file that holds the lease. The lease still owns it.
func (l *Lease) File() *os.File { return l.file }

// JoinedLease makes the lease of a container that joins the network of another one: both hold
// the same file, which the lease owns from here on.
func JoinedLease(a address.Address, f *os.File) *Lease { return &Lease{Address: a, file: f} }

// Claim takes a free address for the container of an owner. The thread must act on
// files as root. The caller must Release the lease.
func Claim(r address.Range, name string, owner uint32) (*Lease, error) {
	dir, err := openDirectory(lock.TurnShared)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	address, f, err := takeFree(dir, r, name)
	if err != nil {
		return nil, err
	}
	return &Lease{address, r, owner, f}, nil
}

// takeFree takes the first free address of a range. The container's name decides where
// it begins to look, so that a container mostly has the same address each time.
func takeFree(dir *os.File, r address.Range, name string) (address.Address, *os.File, error) {
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
			return 0, nil, fmt.Errorf("lease of %s in %s: %w", address, Directory, err)
		}
		return address, f, nil
	}
	return 0, nil, fmt.Errorf("%w of %s, the policy's network-range", ErrExhausted, r)
}

// openDirectory opens the directory of the leases and takes its turn. The turn is
// shared while a lease is taken or given up. Only root takes it alone, to remove the
// bridge: a process that its caller can stop must not keep others waiting.
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

// take makes a file, or opens it, and marks it. It begins again if somebody has removed
// the file before it was marked. EWOULDBLOCK says that another open file has the mark.
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

// Release gives the lease up. Another container that has joined the network may still
// hold it. If none does, the address and its interface go. The thread must be in the
// host's network namespace, act on files as root, and needs CAP_NET_ADMIN.
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

// remove removes a lease that nobody holds, and its interface.
func remove(dir *os.File, a address.Address) (gone bool, err error) {
	f, err := take(dir, a.String())
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	h, err := open()
	if err != nil {
		return false, err
	}
	defer h.Close()
	err = removeInterface(h, hostName(a))
	if errors.Is(err, unix.EPERM) {
		// No policy lets anybody have a private network any more, so the grant has no
		// CAP_NET_ADMIN: root collects the lease.
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove interface %s: %w", hostName(a), err)
	}
	return true, unix.Unlinkat(int(dir.Fd()), a.String(), 0)
}

// Collect removes leases that nobody holds any more: a user's own, and for root all,
// and what is left of an interface where a process outside of all containers keeps a
// network. With the last lease root removes the bridge and its rules. Collect tells what it has
// removed. The thread must be in the host's network namespace, act on files as root,
// and needs CAP_NET_ADMIN.
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
	if root {
		left, err := attached()
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		names = append(names, left...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
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
		removed = append(removed, "network "+BridgeName)
	}
	return removed, err
}

// removeUnused removes the bridge if no container has an address. Nobody takes an
// address meanwhile. If somebody has the turn of the directory, the bridge stays until
// the next time.
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

// listNames lists a directory from its beginning, though it may have been read before.
func listNames(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}
