package kit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// RemoveOwnImages removes what OwnImage made, so that other tests find users without
// images. It is for the end of a package's tests.
func RemoveOwnImages(users ...string) {
	for _, user := range users {
		_ = exec.Command("setpriv", "--reuid", user, "--regid", user, "--init-groups", "--reset-env", Runtime, "image", "remove", "--unprivileged", Image).Run()
	}
}

// OwnImage gives a user an image of their own, for runs without a grant, with what is
// in Base, under the name of Image. It stays until RemoveOwnImages.
func OwnImage(t testing.TB, user string) {
	t.Helper()
	u, _, _ := Lookup(t, user)
	if _, err := os.Stat(filepath.Join(u.HomeDir, ".local/share/mayfly/images", Image)); err == nil {
		return
	}
	archive, err := os.CreateTemp("", "mayfly-own-*.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	pack := exec.Command("tar", "--numeric-owner", "-C", filepath.Join(Store, Base), "-cf", "-", ".")
	pack.Stdout = archive
	if err := pack.Run(); err != nil {
		t.Fatal(fmt.Errorf("pack the image: %w", err))
	}
	if _, err := archive.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := As(t, user, Runtime, "image", "import", "--unprivileged", Image, "-")
	cmd.Stdin = archive
	if r := DoWithin(t, Within(5*time.Minute), cmd); r.Code != 0 {
		t.Fatalf("import: %+v", r)
	}
}

// WorkDirectory makes a directory of a user's in their home, for the time of the test.
func WorkDirectory(t testing.TB, name string) string {
	t.Helper()
	u, uid, gid := Lookup(t, name)
	dir, err := os.MkdirTemp(u.HomeDir, "work-")
	Must(t, errors.Join(err, os.Chown(dir, int(uid), int(gid)), os.Chmod(dir, 0o755)))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
