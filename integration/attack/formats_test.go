package attack

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// saved writes what docker save wrote: a configuration by its digest, and layers.
func saved(t *testing.T, name string, diffIDs []string, layer []byte) []byte {
	t.Helper()
	config, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
	kit.Must(t, err)
	if name == "" {
		name = fmt.Sprintf("%x.json", sha256.Sum256(config))
	}
	list, err := json.Marshal([]map[string]any{{"Config": name, "Layers": []string{"layer.tar"}}})
	kit.Must(t, err)
	return tarOf(t, file("manifest.json", string(list)), file(name, string(config)), file("layer.tar", string(layer)))
}

// Whatever has a digest is compared with it.
func TestM13DigestsOfFormats(t *testing.T) {
	store := overlayStore(t)
	content := tarOf(t, file("f", "x"))
	id := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	other := fmt.Sprintf("sha256:%x", sha256.Sum256(nil))
	for _, c := range []struct {
		what string
		data []byte
		err  string
	}{
		{"as it should be", saved(t, "", []string{id}, content), ""},
		{"a configuration of another digest", saved(t, strings.TrimPrefix(other, "sha256:")+".json", []string{id}, content), "wrong checksum"},
		{"a configuration by a name of its own", saved(t, "config.json", []string{id}, content), "its name is not its digest"},
		{"a layer of another digest", saved(t, "", []string{other}, content), "wrong checksum"},
		{"a layer of no digest", saved(t, "", []string{""}, content), "want sha256 or sha512"},
	} {
		r := importInto(t, store, c.data)
		if c.err != "" {
			refused(t, c.what, r, c.err)
			continue
		}
		if r.Code != 0 {
			t.Errorf("%s: %+v", c.what, r)
		}
		kit.Succeed(t, "image", "remove", "--store", store, "attack")
	}
	l := layout{t: t}
	blob := l.blob(content)
	config := l.document(map[string]any{"rootfs": map[string]any{"diff_ids": []string{""}}})
	manifest := l.document(map[string]any{"config": config, "layers": []map[string]any{{"digest": blob, "size": len(content)}}})
	refused(t, "a layout with a layer of no digest", importInto(t, store, l.archive([]map[string]any{manifest})), "want sha256 or sha512")
}

// Standard input is read from where it stands, also where it is a file.
func TestM13StandardInput(t *testing.T) {
	store := overlayStore(t)
	name := filepath.Join(t.TempDir(), "archives")
	before, archive := compressed(t, tarOf(t, file("before", "x"))), compressed(t, tarOf(t, file("after", "x")))
	kit.Must(t, os.WriteFile(name, append(before, archive...), 0o644))
	in, err := os.Open(name)
	kit.Must(t, err)
	defer in.Close()
	_, err = in.Seek(int64(len(before)), 0)
	kit.Must(t, err)
	cmd := exec.Command(kit.Runtime, "image", "import", "--store", store, "attack", "-")
	cmd.Stdin = in
	if r := kit.Do(t, cmd); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if list, err := filepath.Glob(filepath.Join(store, "attack", "1", "[ab]*")); err != nil || len(list) != 1 || filepath.Base(list[0]) != "after" {
		t.Errorf("it has %v, %v", list, err)
	}
}
