package attack

import (
	"archive/tar"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// A device in the place of a mount point is never opened. This one has no driver: to
// open it would be an error.
func TestM08DevicesInThePlaceOfMountPoints(t *testing.T) {
	then := time.Unix(1_000_000_000, 0)
	device := func(name string, kind byte) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Mode: 0o666, Devmajor: 250, Devminor: 77, ModTime: then}, ""}
	}
	fifo := with(device("run", tar.TypeFifo), func(h *tar.Header) { h.Devmajor, h.Devminor = 0, 0 })
	data := tarOf(t, dirEntry("etc/"), dirEntry("var/"), device("tmp", tar.TypeChar), device("dev", tar.TypeChar), device("home", tar.TypeBlock),
		device("var/tmp", tar.TypeChar), device("etc/hosts", tar.TypeChar), symlink("opt", "tmp"), fifo)
	for _, store := range []string{overlayStore(t), kit.NewStore(t)} {
		if r := importInto(t, store, data); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		root := filepath.Join(store, "attack", "current")
		for name, kind := range map[string]uint32{"tmp": unix.S_IFCHR, "dev": unix.S_IFCHR, "home": unix.S_IFBLK, "var/tmp": unix.S_IFCHR, "etc/hosts": unix.S_IFCHR, "run": unix.S_IFIFO} {
			var st unix.Stat_t
			kit.Must(t, unix.Lstat(filepath.Join(root, name), &st))
			if st.Mode&unix.S_IFMT != kind || kind != unix.S_IFIFO && (unix.Major(st.Rdev) != 250 || unix.Minor(st.Rdev) != 77) || st.Mtim.Sec != then.Unix() {
				t.Errorf("%s: mode %o, device %d, time %d", name, st.Mode, st.Rdev, st.Mtim.Sec)
			}
		}
		kit.Succeed(t, "image", "verify", "--store", store, "attack")
		out := filepath.Join(t.TempDir(), "out.tar")
		kit.Succeed(t, "image", "export", "--store", store, "attack", out)
		if list, err := exec.Command("tar", "-tvf", out).Output(); err != nil || strings.Count(string(list), "250,77") != 5 {
			t.Errorf("exported %s, %v", list, err)
		}
	}
}

// The mount of a store makes device nodes and setuid programs in it useless to
// everybody on the host.
func TestM08TheStoresMount(t *testing.T) {
	options := func(store string) string {
		out, err := exec.Command("findmnt", "-no", "OPTIONS", store).Output()
		kit.Must(t, err)
		return string(out)
	}
	store := kit.NewStore(t)
	if got := options(store); !strings.Contains(got, "nosuid") || !strings.Contains(got, "nodev") {
		t.Errorf("a new store is mounted %s", got)
	}
	kit.Command(t, "mount", "-o", "remount,bind,suid,dev", store) // as an older version has done
	kit.Succeed(t, "store", "mount", "--store", store)
	if got := options(store); !strings.Contains(got, "nosuid") || !strings.Contains(got, "nodev") || !strings.Contains(got, "noatime") {
		t.Errorf("one that was mounted otherwise is mounted %s", got)
	}
}
