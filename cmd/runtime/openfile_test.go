package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A flag must not reach a descriptor that the program has opened itself, whatever the
// name of it.
func TestOnlyDescriptorsThatWereGivenAreOpened(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	own, err := os.CreateTemp(dir.Name(), "own")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	link := filepath.Join(dir.Name(), "link")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", own.Fd()), link); err != nil {
		t.Fatal(err)
	}
	names := []string{link}
	for _, of := range []string{"/dev/fd", "/proc/self/fd", "/proc/thread-self/fd", fmt.Sprintf("/proc/%d/fd", os.Getpid()), "/proc/./self/fd"} {
		names = append(names, fmt.Sprintf("%s/%d", of, own.Fd()), fmt.Sprintf("%s/%d/%s", of, dir.Fd(), filepath.Base(own.Name())))
	}
	for _, name := range names {
		if f, err := openFile(name, os.O_WRONLY|os.O_CREATE, 0o666); err == nil {
			t.Errorf("%s is opened", name)
			f.Close()
		}
	}
	f, err := openFile("/dev/stderr", os.O_WRONLY, 0)
	if err != nil || f.Fd() <= 2 {
		t.Errorf("%v, %v", f, err)
	}
	f.Close()
	if f, err = openFile(own.Name(), os.O_WRONLY, 0); err != nil {
		t.Error(err)
	}
	f.Close()
}
