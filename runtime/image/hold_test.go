package image

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwnersOfWhatIsInTheRunDirectory(t *testing.T) {
	for name, owner := range map[string]uint32{".session-7.s.0123456789abcdef": 7, ".ended-7.s.0123456789abcdef": 7, "7.c.0123456789abcdef": 7, ".new-0123456789abcdef": nobody, "old": nobody} {
		if got := ownerOf(name); got != owner {
			t.Errorf("%s is %d's, want %d's", name, got, owner)
		}
	}
}

// directory is an open directory for a test.
func directory(t *testing.T) int {
	t.Helper()
	dir, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir) })
	return dir
}

func TestAHoldIsTakenByOne(t *testing.T) {
	dir := directory(t)
	held, fd, err := makeHeld(dir, ".new-1")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !isHeld(dir, ".new-1") {
		t.Error("it is not held")
	}
	if other, err := takeHold(dir, ".new-1"); err != nil || other != nil {
		t.Errorf("taken twice: %v, %v", other, err)
	}
	// What a program inside does to the entry itself is nothing to it.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	unix.Close(held.fd) // as the kernel does for a killed process
	if isHeld(dir, ".new-1") {
		t.Error("held by the dead")
	}
	taken, err := takeHold(dir, ".new-1")
	if err != nil || taken == nil {
		t.Fatalf("%v, %v", taken, err)
	}
	if err := taken.release(); err != nil {
		t.Error(err)
	}
}

func TestWhatAnEarlierVersionLocksIsNotTaken(t *testing.T) {
	dir := directory(t)
	if err := unix.Mkdirat(dir, "old", 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := openHere(dir, "old")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if taken, err := takeHold(dir, "old"); err != nil || taken != nil {
		t.Errorf("%v, %v", taken, err)
	}
	unix.Close(fd)
	taken, err := takeHold(dir, "old")
	if err != nil || taken == nil {
		t.Fatalf("%v, %v", taken, err)
	}
	if err := taken.release(); err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}
