// Package build builds software that nobody here wrote, from Debian's source
// packages, with its own test suites, as an ordinary user in a container.
package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestSourcePackagesBuildAndPassTheirTests(t *testing.T) {
	packages := []struct {
		name     string
		image    string
		script   string
		artefact string
	}{
		{"zlib", kit.I386, "./configure && make -j2 && make check", "libz.so.1.2.13"},
		{"hello", kit.Image, "./configure && make -j2 && make check", "hello"},
		{"xz-utils", kit.Image, "./configure --disable-nls && make -j2 && make -j2 check", "src/liblzma/.libs/liblzma.so"},
	}
	for _, c := range packages[:kit.Rounds(len(packages)-1, len(packages))] { // the last takes as long as all others
		t.Run(c.name, func(t *testing.T) {
			tree := unpack(t, c.name)
			cmd := kit.As(t, kit.User, kit.Runtime, "run", c.image, "sh", "-ec", c.script)
			cmd.Dir = tree
			began := time.Now()
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, tail(out))
			}
			t.Logf("%s in %v", c.name, time.Since(began).Round(time.Second))
			checkArtefact(t, filepath.Join(tree, c.artefact), c.image)
		})
	}
	kit.NothingLeft(t)
}

// checkArtefact checks that a program or library is the user's and made for the image.
func checkArtefact(t *testing.T, name, image string) {
	t.Helper()
	_, uid, gid := kit.Lookup(t, kit.User)
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != uid || stat.Gid != gid {
		t.Errorf("%s belongs to %d:%d, want %d:%d", name, stat.Uid, stat.Gid, uid, gid)
	}
	class := "\x02" // ELFCLASS64
	if strings.HasPrefix(image, kit.I386) {
		class = "\x01"
	}
	data, err := os.ReadFile(name)
	if err != nil || !strings.HasPrefix(string(data), "\x7fELF"+class) {
		t.Errorf("%s is not an ELF file of class %q: %v", name, class, err)
	}
}

// unpack puts a source package into the user's home.
func unpack(t *testing.T, name string) string {
	t.Helper()
	dsc := download(t, name)
	u, _, _ := kit.Lookup(t, kit.User)
	tree := filepath.Join(u.HomeDir, "mayfly-build", name)
	t.Cleanup(func() { os.RemoveAll(filepath.Join(u.HomeDir, "mayfly-build")) })
	for _, args := range [][]string{
		{"mkdir", "-p", filepath.Dir(tree)},
		{"rm", "-rf", tree},
		{"dpkg-source", "--extract", dsc, tree},
	} {
		if out, err := kit.As(t, kit.User, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	return tree
}

// download fetches a source package with apt, in a configuration of its own, so
// that the host's package sources stay as they are.
func download(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(kit.Cache, name)
	if found, _ := filepath.Glob(filepath.Join(dir, "*.dsc")); len(found) == 1 {
		return found[0]
	}
	lists := filepath.Join(kit.Cache, "lists")
	for _, d := range []string{dir, filepath.Join(lists, "partial")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(kit.Cache, "sources.list")
	if err := os.WriteFile(list, []byte("deb-src http://deb.debian.org/debian bookworm main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	options := []string{"-q", "-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists=" + lists, "-o", "APT::Sandbox::User=root"}
	for _, command := range [][]string{{"update"}, {"source", "--download-only", name}} {
		cmd := exec.Command("apt-get", append(append([]string{}, options...), command...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", cmd.Args, err, tail(out))
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.dsc"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: descriptions %v, %v", name, found, err)
	}
	return found[0]
}

func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Sprint(strings.Join(lines[max(0, len(lines)-25):], "\n"))
}
