package network

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// directory is an empty directory for leases.
func directory(t *testing.T) *os.File {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// takes takes a free address of a range, until the test ends or the file is closed.
func takes(t *testing.T, dir *os.File, r address.Range, name string) (address.Address, *os.File) {
	t.Helper()
	a, f, err := takeFree(dir, r, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return a, f
}

// smallest has addresses for five containers.
var smallest = address.Range{First: 10<<24 | 99<<16, Bits: 29}

func TestAContainerHasTheSameAddressEachTime(t *testing.T) {
	dir := directory(t)
	first, f := takes(t, dir, address.DefaultRange, "build")
	f.Close()
	if again, _ := takes(t, dir, address.DefaultRange, "build"); again != first {
		t.Errorf("it has %v after %v", again, first)
	}
}

func TestNoTwoContainersHaveOneAddress(t *testing.T) {
	dir := directory(t)
	have := map[address.Address]bool{}
	for range smallest.Count() {
		a, _ := takes(t, dir, smallest, "the same name")
		if have[a] || a <= smallest.Gateway() || a >= smallest.First+7 {
			t.Errorf("%v is taken after %v", a, have)
		}
		have[a] = true
	}
	_, _, err := takeFree(dir, smallest, "one more")
	if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "10.99.0.0/29") {
		t.Errorf("the sixth of five: %v", err)
	}
}

func TestAnAddressIsFreeAgainWhenEveryDescriptorIsClosed(t *testing.T) {
	dir := directory(t)
	a, f := takes(t, dir, address.DefaultRange, "first")
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) // as a container has it that joins
	if err != nil {
		t.Fatal(err)
	}
	joined := JoinedLease(a, os.NewFile(uintptr(fd), "lease"))
	f.Close()
	if _, err := take(dir, a.String()); err != unix.EWOULDBLOCK {
		t.Errorf("while another container holds it: %v", err)
	}
	joined.File().Close()
	again, err := take(dir, a.String())
	if err != nil {
		t.Fatalf("when nobody holds it: %v", err)
	}
	again.Close()
}

// Whoever gives an address up removes the file of a lease that they have marked. A
// launch may have opened it by then.
func TestARemovedFileIsNoLease(t *testing.T) {
	dir := directory(t)
	name := filepath.Join(dir.Name(), "10.99.0.2")
	for range 200 {
		f, err := take(dir, "10.99.0.2")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- errors.Join(os.Remove(name), f.Close()) }()
		var next *os.File
		for {
			if next, err = take(dir, "10.99.0.2"); err != unix.EWOULDBLOCK {
				break
			}
		}
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		var open, named unix.Stat_t
		if err := errors.Join(unix.Fstat(int(next.Fd()), &open), unix.Stat(name, &named)); err != nil || open.Ino != named.Ino {
			t.Fatalf("the lease is inode %d, the directory names %d: %v", open.Ino, named.Ino, err)
		}
		next.Close()
	}
}

// Only root can write to the directory of the leases. A link there is still not
// followed.
func TestALinkIsNoLease(t *testing.T) {
	dir := directory(t)
	target := filepath.Join(dir.Name(), "target")
	if err := os.Symlink(target, filepath.Join(dir.Name(), "10.99.0.2")); err != nil {
		t.Fatal(err)
	}
	if _, err := take(dir, "10.99.0.2"); err != unix.ELOOP {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("what it leads to was made")
	}
}

func TestADirectoryIsListedFromItsBeginning(t *testing.T) {
	dir := directory(t)
	for range 2 {
		takes(t, dir, smallest, "a name")
	}
	for range 2 {
		if names, err := listNames(dir); err != nil || len(names) != 2 {
			t.Errorf("%q, %v", names, err)
		}
	}
}
