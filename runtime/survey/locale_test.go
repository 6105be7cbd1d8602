package survey

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// archiveOf makes a locale-archive of these names.
func archiveOf(magic uint32, names string) []byte {
	const at = 56
	head := make([]byte, at)
	for i, v := range map[int]uint32{0: magic, 5: at, 6: uint32(len(names))} {
		binary.LittleEndian.PutUint32(head[4*i:], v)
	}
	return append(head, names...)
}

// imageWith makes a tree of files.
func imageWith(t *testing.T, files map[string]string) mount.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return mount.RootAt(fd)
}

func TestWhichLocalesAnImageHas(t *testing.T) {
	const dir = "usr/lib/locale/"
	plain := map[string]string{dir + "C.utf8/LC_CTYPE": ""}
	one := map[string]string{dir + "de_DE.utf8/LC_CTYPE": ""}
	archive := map[string]string{dir + "locale-archive": string(archiveOf(archiveMagic, "de_DE.utf8\x00fr_FR.iso885915@euro\x00"))}
	for _, c := range []struct {
		image  map[string]string
		locale string
		has    bool
	}{
		{map[string]string{"x": ""}, "de_DE.UTF-8", true}, // no glibc, or none that tells
		{plain, "de_DE.UTF-8", false},
		{plain, "C.UTF8", true},
		{plain, "de/x", true},
		{plain, "..", true},
		{one, "de_DE.UTF-8", true},
		{one, "de_DE.utf8", true},
		{one, "de_DE.UTF-8@euro", true},
		{one, "de_DE", false},
		{one, "de_AT.UTF-8", false},
		{archive, "de_DE.UTF-8", true},
		{archive, "fr_FR.ISO-8859-15@euro", true},
		{archive, "fr_FR.885915@euro", true},
		{archive, "fr_FR.UTF-8", false},
		{archive, "e_DE.UTF-8", false},
		{map[string]string{dir + "locale-archive": string(archiveOf(0x090102de, ""))}, "de_DE.UTF-8", true},
		{map[string]string{dir + "locale-archive": "short"}, "de_DE.UTF-8", true},
		{map[string]string{dir + "locale-archive": string(archiveOf(archiveMagic, "x")[:56])}, "de_DE.UTF-8", true},
		{map[string]string{dir + "locale-archive/x": ""}, "de_DE.UTF-8", true},
	} {
		if got := hasLocale(imageWith(t, c.image), c.locale); got != c.has {
			t.Errorf("%q: %q is there: %v, want %v", c.image, c.locale, got, c.has)
		}
	}
}
