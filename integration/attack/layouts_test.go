package attack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// A layout writes an image's archive of blobs.
type layout struct {
	t       *testing.T
	entries []entry
}

func (l *layout) blob(data []byte) (digest string) {
	sum := sha256.Sum256(data)
	digest = hex.EncodeToString(sum[:])
	l.entries = append(l.entries, file("blobs/sha256/"+digest, string(data)))
	return "sha256:" + digest
}

func (l *layout) document(document any) map[string]any {
	data, err := json.Marshal(document)
	kit.Must(l.t, err)
	return map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": l.blob(data), "size": len(data)}
}

func (l *layout) archive(manifests []map[string]any) []byte {
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": manifests})
	kit.Must(l.t, err)
	return compressed(l.t, tarOf(l.t, append([]entry{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", string(data))}, l.entries...)...))
}

// An index of a few bytes makes work of a few manifests only.
func TestM11IndexesThatRepeat(t *testing.T) {
	store := overlayStore(t)
	l := layout{t: t}
	const layers = 40_000 // documents of some megabytes
	empty := l.blob(tarOf(t))
	var ids []string
	var list []map[string]any
	for range layers {
		ids = append(ids, empty)
		list = append(list, map[string]any{"digest": empty, "size": 1024})
	}
	config := l.document(map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	manifest := l.document(map[string]any{"schemaVersion": 2, "config": config, "layers": list})
	repeated := func(of map[string]any, n int) (all []map[string]any) {
		for range n {
			all = append(all, of)
		}
		return all
	}
	index := func(of []map[string]any) map[string]any {
		d := l.document(map[string]any{"schemaVersion": 2, "manifests": of})
		d["mediaType"] = "application/vnd.oci.image.index.v1+json"
		return d
	}
	inner := index(repeated(manifest, 30))
	for _, c := range []struct {
		what      string
		manifests []map[string]any
		err       string
	}{
		{"one manifest 200 times", repeated(manifest, 200), "200 of its images are meant"},
		{"one manifest 2000 times", repeated(manifest, 2000), "more than 1000 manifests"},
		{"indexes in indexes", repeated(index(repeated(inner, 30)), 30), "more than 1000 manifests"},
		{"an index that is too deep", repeated(index(repeated(index(repeated(index(repeated(index(repeated(index(nil), 1)), 1)), 1)), 1)), 1), "too many indexes"},
	} {
		name := filepath.Join(t.TempDir(), "archive")
		kit.Must(t, os.WriteFile(name, l.archive(c.manifests), 0o644))
		// The kernel counts what this process has of memory as its child's until
		// execve.
		debug.FreeOSMemory()
		kit.Must(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
		cmd := exec.Command(kit.Runtime, "image", "import", "--store", store, "attack", name)
		refused(t, c.what, kit.Do(t, cmd).WithoutProgress(), c.err)
		if used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; used > 400<<10 {
			t.Errorf("%s: took %d MiB of memory", c.what, used>>10)
		}
	}
}
