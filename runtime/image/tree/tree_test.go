package tree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// sample makes a small tree with times of its own.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return os.Mkdir(filepath.Join(dir, "b"), 0o750) },
		func() error { return os.WriteFile(filepath.Join(dir, "b", "file"), []byte("text"), 0o640) },
		func() error { return os.Link(filepath.Join(dir, "b", "file"), filepath.Join(dir, "c")) },
		func() error { return os.Symlink("b/file", filepath.Join(dir, "b-link")) },
		func() error { return syscall.Mkfifo(filepath.Join(dir, "a fifo"), 0o600) },
		func() error { return setTimes(dir, "b/file", "b-link", "a fifo", "b", ".") },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// setTimes gives each the time of its place in the list, in seconds, and a nanosecond.
func setTimes(dir string, names ...string) error {
	for i, name := range names {
		out := fmt.Sprintf("@%d.000000001", i+1)
		if err := run("touch", "-h", "-d", out, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func digest(t *testing.T, dir string) Summary {
	t.Helper()
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	s, err := Digest(context.Background(), int(top.Fd()), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The records are written out here by hand, from the documentation.
func TestTheDigestIsThatOfTheDocumentedRecords(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	text := sha256.Sum256([]byte("text"))
	records := fmt.Sprintf("d 0755 %[1]d %[2]d 5.000000001\x00.\x00\x00\n"+
		"p 0600 %[1]d %[2]d 3.000000001\x00a fifo\x00\x00\n"+
		"d 0750 %[1]d %[2]d 4.000000001\x00b\x00\x00\n"+
		"f 0640 %[1]d %[2]d 1.000000001\x00b/file\x00%[3]s\x00\n"+
		"l 0777 %[1]d %[2]d 2.000000001\x00b-link\x00b/file\x00\n"+
		"h\x00c\x00b/file\x00\n", uid, gid, hex.EncodeToString(text[:]))
	sum := sha256.Sum256([]byte(records))
	s := digest(t, sample(t))
	if want := "sha256:" + hex.EncodeToString(sum[:]); s.Digest != want || s.Files != 6 || s.FIFOs != 1 {
		t.Errorf("%+v, want %s", s, want)
	}
}

func TestAnyDifferenceChangesTheDigest(t *testing.T) {
	want := digest(t, sample(t)).Digest
	if again := digest(t, sample(t)).Digest; again != want {
		t.Fatalf("the same tree has %s and %s", want, again)
	}
	for _, change := range []string{"chmod 600 c", "touch -d @9 c", "echo x >>c; touch -d @1.000000001 c", "ln -sfn b b-link; touch -h -d @2.000000001 b-link",
		"mv c d; touch -d @5.000000001 .", "rm c; touch -d @5.000000001 .", "mkdir new; touch -d @5.000000001 .", "cp -p c n; mv n c; touch -d @5.000000001 ."} {
		dir := sample(t)
		if err := run("sh", "-ec", "cd "+dir+"; "+change); err != nil {
			t.Fatal(err)
		}
		if digest(t, dir).Digest == want {
			t.Errorf("%q does not change it", change)
		}
	}
}

func TestAWalkEndsWithItsContext(t *testing.T) {
	top, err := os.Open(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := Digest(ctx, int(top.Fd()), nil, nil); err == nil {
		t.Error("a digest after the end of its context")
	}
}

func TestPathsAreInTheOrderOfTheWalk(t *testing.T) {
	for _, c := range [][2]string{{".", "a"}, {"a", "a/b"}, {"a/z", "a-b"}, {"a", "b"}, {"a/b/c", "a/c"}} {
		if compare(c[0], c[1]) >= 0 || compare(c[1], c[0]) <= 0 {
			t.Errorf("%q is not before %q", c[0], c[1])
		}
	}
}
