package network

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

const someone, another = 1000, 1001

// ownerFile is the file of the owner of an address.
func ownerFile(t *testing.T, dir *os.File, a address.Address, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir.Name(), ownerPrefix+a.String()), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileNamesTheOwnerOfAnAddress(t *testing.T) {
	dir := directory(t)
	a := smallest.At(0)
	if ownedBy(dir, a, someone) {
		t.Error("an address without a file has an owner")
	}
	for content, owner := range map[string]uint32{"1000": 1000, "0": 0, "4294967295": 1<<32 - 1} {
		ownerFile(t, dir, a, content)
		if !ownedBy(dir, a, owner) || ownedBy(dir, a, owner+1) {
			t.Errorf("%q does not name %d", content, owner)
		}
	}
	for _, content := range []string{"", "x", "-1", "10 ", "1000\n", "4294967296", "99999999999999999999"} {
		ownerFile(t, dir, a, content)
		for _, owner := range []uint32{0, 1, 10, 1000, 1<<32 - 1} {
			if ownedBy(dir, a, owner) {
				t.Errorf("%q names %d", content, owner)
			}
		}
	}
}

// A longer number was there before.
func TestAnOwnerIsWrittenOverTheOneBefore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "owner")
	for _, owner := range []uint32{1<<32 - 1, 0, another, 5} {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeOwner(fd, owner); err != nil {
			t.Fatal(err)
		}
		if got, known, err := readOwner(fd); got != owner || !known || err != nil {
			t.Errorf("%d is read as %d, %v, %v", owner, got, known, err)
		}
		unix.Close(fd)
	}
}

func TestALinkNamesNoOwner(t *testing.T) {
	dir := directory(t)
	a, other := smallest.At(0), smallest.At(1)
	ownerFile(t, dir, other, "1000")
	if err := os.Symlink(ownerPrefix+other.String(), filepath.Join(dir.Name(), ownerPrefix+a.String())); err != nil {
		t.Fatal(err)
	}
	if ownedBy(dir, a, someone) {
		t.Error("it names one")
	}
}
