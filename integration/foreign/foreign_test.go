// Package foreign tests images of another architecture, whose programs the kernel hands
// to qemu.
package foreign

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

const (
	name   = "foreign-arm64" // of the image
	binfmt = "/proc/sys/fs/binfmt_misc"
	entry  = binfmt + "/qemu-aarch64"
	qemu   = "/usr/bin/qemu-aarch64-static"
)

// register sees to it that the kernel knows of qemu for arm64, as Debian's packages and
// systemd do it: F is for containers, which do not have it in their file tree.
func register(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(binfmt + "/register"); err != nil {
		kit.Command(t, "mount", "-t", "binfmt_misc", "binfmt_misc", binfmt)
		t.Cleanup(func() { kit.Command(t, "umount", binfmt) })
	}
	if _, err := os.Stat(entry); !errors.Is(err, os.ErrNotExist) {
		kit.Must(t, err)
		return
	}
	const magic, mask = `\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`, `\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`
	kit.Must(t, os.WriteFile(binfmt+"/register", []byte(":qemu-aarch64:M::"+magic+":"+mask+":"+qemu+":PF"), 0))
	t.Cleanup(func() { kit.Must(t, os.WriteFile(entry, []byte("-1"), 0)) })
}

// makeImage makes an image of a C program, its C library, and a /bin/sh that is the
// program, too, without a library.
func makeImage(t *testing.T) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	source, err := filepath.Abs("testdata/program.c")
	kit.Must(t, err)
	kit.Command(t, "sh", "-ec", `mkdir -p $1/bin $1/lib/aarch64-linux-gnu; cd /usr/aarch64-linux-gnu/lib
		cp ld-linux-aarch64.so.1 $1/lib; cp libc.so.6 $1/lib/aarch64-linux-gnu
		aarch64-linux-gnu-gcc -o $1/bin/program $2; aarch64-linux-gnu-gcc -static -o $1/bin/sh $2`, "sh", dir, source)
	kit.Succeed(t, "image", "import", name, dir)
	t.Cleanup(func() { kit.Succeed(t, "image", "remove", name) })
}

// run runs the program as the ordinary user, in a directory of theirs.
func run(t *testing.T, program string) (kit.Result, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/srv", "foreign-")
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, os.RemoveAll(dir)) })
	_, uid, gid := kit.Lookup(t, kit.User)
	kit.Must(t, os.Chown(dir, int(uid), int(gid)))
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--bind", ".", name, program)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("text\n")
	return kit.Do(t, cmd), filepath.Join(dir, "made")
}

// docker, podman: "exec format error", and how to get qemu; toolbox, distrobox: images
// of other architectures.
func TestProgramsOfAnotherMachine(t *testing.T) {
	makeImage(t)
	register(t)
	_, uid, _ := kit.Lookup(t, kit.User)
	for _, program := range []string{"program", "/bin/sh"} {
		r, made := run(t, program)
		text, err := os.ReadFile(made)
		want := "aarch64, 8 bytes, uid " + strconv.Itoa(int(uid)) + "\nthread\nchild 5\n"
		if r.Out != want || r.Err != "" || r.Code != 7 || err != nil || string(text) != "text\n" {
			t.Errorf("%s: %+v, %q, %v; want %q", program, r, text, err, want)
		}
	}
	tells(t, "arm64 (by qemu)", `"emulator": "/usr/`, "arm64 by qemu")

	kit.Must(t, os.WriteFile(entry, []byte("0"), 0))
	t.Cleanup(func() { kit.Must(t, os.WriteFile(entry, []byte("1"), 0)) })
	if r, _ := run(t, "program"); r.Code != 126 || !strings.Contains(r.Err, "/bin/program: a program for arm64, which this machine does not run") {
		t.Errorf("without qemu: %+v", r)
	}
	tells(t, "arm64 (no emulator)", `"emulator": "none"`, "apt-get install qemu-user-static")
	kit.Refuse(t, "apt-get install qemu-user-static", "image", "create", "made", "--suite", "bookworm", "--arch", "arm64")
	kit.NothingLeft(t)
}

// tells looks at what image list says, in words and as JSON, and what doctor says, to
// an ordinary user.
func tells(t *testing.T, list, json, doctor string) {
	t.Helper()
	for what, want := range map[string]string{"image list": list, "image list --json": json, "doctor": doctor} {
		r := kit.Run(t, strings.Fields(what)...)
		if !strings.Contains(r.Out, want) {
			t.Errorf("%s says %s, want %q", what, r.Out, want)
		}
	}
}
