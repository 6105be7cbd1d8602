package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// source is the top of the source tree, seen from here.
const source = "../.."

// payload makes a disk that is a tar archive of what is under test: the sources, the
// Debian package, and the tests of some packages of integration, each as a program.
func payload(t testing.TB, packages []string) Disk {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "src")
	command(t, source, "sh", "-ec", `mkdir "$1"; git ls-files | tar -cf - -T - | tar -xf - -C "$1"; cp bin/*.deb "$1"/`, "sh", tree)
	for _, p := range packages {
		command(t, source, "go", "test", "-c", "-o", filepath.Join(tree, "integration", p, p+".test"), "-ldflags=-s -w", "./integration/"+p)
	}
	disk := filepath.Join(dir, "payload")
	command(t, dir, "tar", "-cf", disk, "src")
	return Disk{Path: disk, Format: "raw"}
}

// storeDisk is a BTRFS disk with images. What is written to it goes with the machine.
func storeDisk(t testing.TB) Disk { return Disk{Path: prepared(t, "./store"), Format: "raw"} }

// command runs a program of this machine in a directory and returns its output.
func command(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w: %s%s", args, err, out, problem.String()))
	}
	return string(out)
}
