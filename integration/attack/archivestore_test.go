package attack

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// overlayStore makes a store where copies are overlays. Its file system gives inode
// numbers again, which BTRFS does not.
func overlayStore(t *testing.T) string {
	t.Helper()
	store := kit.StoreDirectory(t)
	kit.Succeed(t, "store", "init", "--overlay", "--store", store)
	return store
}

// importInto imports an archive into a store of its own.
func importInto(t *testing.T, store string, data []byte, flags ...string) kit.Result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive")
	write(t, name, string(data))
	args := append(append([]string{"image", "import", "--store", store}, flags...), "attack", name)
	return kit.DoWithin(t, kit.Within(10*time.Minute), exec.Command(kit.Runtime, args...)).WithoutProgress()
}
