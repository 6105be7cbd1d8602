package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhoIsCollectedWaitsForTheCollector: a name that a collector is about to remove cannot be made again before.
func TestWhoIsCollectedWaitsForTheCollector(t *testing.T) {
	path := t.TempDir()
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	newborn := filepath.Join(path, "newborn")
	if err := os.Mkdir(newborn, 0o755); err != nil {
		t.Fatal(err)
	}
	collector, err := os.Open(newborn)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(collector.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	claimed := make(chan error)
	go func() {
		_, err := claim(dir, "newborn")
		claimed <- err
	}()
	select {
	case err := <-claimed:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := os.Remove(newborn); err != nil {
		t.Fatal(err)
	}
	collector.Close()
	if err := <-claimed; !errors.Is(err, errCollected) {
		t.Errorf("%v, want %v", err, errCollected)
	}
}
