package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, 511, 512, 4096, 100_000} {
		want := bytes.Repeat([]byte{'x'}, size)
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(name, size); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		if _, err := Read(name, size-1); size > 0 && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes with a limit one below: %v", size, err)
		}
	}
}

func TestReadAFileThatTellsNoSize(t *testing.T) {
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read("/proc/version", 1<<20); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
	}
}

func TestErrorsAreThoseOfOS(t *testing.T) {
	if _, err := Read("/nosuch", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Read("/", 1); err == nil {
		t.Error("a directory can be read")
	}
}
