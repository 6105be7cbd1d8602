package programs

import (
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loaderByLibrary is what package debug/elf finds.
func loaderByLibrary(t *testing.T, name string) string {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			data, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimRight(string(data), "\x00")
		}
	}
	return ""
}

func procSelf(t *testing.T) int {
	t.Helper()
	dir, err := os.Open("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return int(dir.Fd())
}

func TestLoadersAreFound(t *testing.T) {
	for _, name := range []string{"/bin/sh", "/proc/self/exe"} {
		name, err := filepath.EvalSymlinks(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := loaderOf(Beginning(procSelf(t), name)), loaderByLibrary(t, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	chained := filepath.Join(dir, "chained")
	for _, c := range []struct{ name, text, want string }{
		{"plain", "#!/nosuch/python2 -E\n", "its interpreter /nosuch/python2 is not in the container"},
		{"blank", "#! \t/nosuch/python2\n", "its interpreter /nosuch/python2 is not in the container"},
		{"dos", "#!/bin/sh\r\necho\r\n", `its interpreter "/bin/sh\r" is not in the container: its lines end with CR LF (DOS), and must end with LF`},
		{"chained", "#!/nosuch/x\n", "its interpreter /nosuch/x is not in the container"},
		{"chain", "#!" + chained + "\n", chained + "'s interpreter /nosuch/x is not in the container"},
		{"relative", "#!nosuch\n", "its interpreter nosuch is not in the container"},
		{"whole", "#!/bin/sh\n", "its interpreter or dynamic loader is not in the container"},
		{"none", "#!", "its interpreter or dynamic loader is not in the container"},
		{"short", "\x7fELF\x02", "its interpreter or dynamic loader is not in the container"},
		{"wild", "\x7fELF\x02\x01" + strings.Repeat("\xff", 200), "its interpreter or dynamic loader is not in the container"},
		{"narrow", "\x7fELF\x01\x02" + strings.Repeat("\x00\x34", 200), "its interpreter or dynamic loader is not in the container"},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.text), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := MissingInterpreter(procSelf(t), "./"+c.name, []string{"/nosuch", dir}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAFIFOIsNotWaitedFor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if data := Beginning(procSelf(t), name); data != nil {
		t.Errorf("%q", data)
	}
}
