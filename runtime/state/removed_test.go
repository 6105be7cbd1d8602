package state

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestARemovedDirectoryHasNoRecords(t *testing.T) {
	path := t.TempDir() + "/owner"
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if names, err := listAny(dir); err != nil || len(names) > 0 {
		t.Errorf("%q, %v", names, err)
	}
}
