package image

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mayfly/integration/kit"
)

// registry starts Debian's docker-registry, and returns its address.
func registry(t *testing.T) string {
	t.Helper()
	const address = "127.0.0.1:20500"
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	kit.Must(t, os.WriteFile(config, []byte("version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: "+dir+"/data\nhttp:\n  addr: "+address+"\n"), 0o644))
	server := exec.Command("docker-registry", "serve", config)
	kit.Must(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	kit.Eventually(t, "the registry answers", func() bool {
		answer, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	})
	return address
}

// A site with a registry has its images there: skopeo(1) copies OCI layouts, which we
// export and import.
func TestImagesComeFromARegistry(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.small(t, "one", "first")
	address := registry(t)
	dir := t.TempDir()
	skopeo := func(from, to string) {
		kit.Command(t, "skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
	}
	for i, text := range []string{"first", "second"} {
		if i > 0 {
			from.small(t, "one", text, "--next")
		}
		from.succeed(t, "image", "export", "--format", "oci", "one", dir+"/there/")
		skopeo("oci:"+dir+"/there:one", "docker://"+address+"/builds/one:current")
		skopeo("docker://"+address+"/builds/one:current", "oci:"+dir+"/here"+itoa(i))
		flags := []string{"image", "import", "one", dir + "/here" + itoa(i)}
		if i > 0 {
			flags = append(flags, "--next")
		}
		to.succeed(t, flags...)
		if got := to.file(t, "one"); got != text {
			t.Errorf("%q", got)
		}
		if from.digest(t, "one") != to.digest(t, "one") {
			t.Error("the digest is another")
		}
		kit.Must(t, os.RemoveAll(dir+"/there"))
	}
}
