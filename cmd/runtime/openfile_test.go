package main

import (
	"fmt"
	"io"
	"os"
	"testing"
)

// A flag must not reach a descriptor that the program has opened itself.
func TestOnlyDescriptorsThatWereGivenAreOpened(t *testing.T) {
	own, err := os.CreateTemp(t.TempDir(), "own")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for _, dir := range []string{"/dev/fd", "/proc/self/fd"} {
		f, err := openFile(fmt.Sprintf("%s/%d", dir, own.Fd()), os.O_WRONLY|os.O_TRUNC, 0o666)
		if err != nil {
			continue // as it is for a program that is not dumpable
		}
		// The kernel opens the file anew, with the caller's rights, and not the descriptor.
		if _, err := own.Seek(7, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 0 {
			t.Errorf("%s: it is the same open file: %d, %v", dir, at, err)
		}
		f.Close()
	}
	f, err := openFile("/dev/stderr", os.O_WRONLY, 0)
	if err != nil || f.Fd() <= 2 {
		t.Errorf("%v, %v", f, err)
	}
	f.Close()
}
