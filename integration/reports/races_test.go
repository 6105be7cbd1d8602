package reports

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// replaceAllTheTime replaces a file by rename(2), some times in a launch, until the
// test ends.
func replaceAllTheTime(t *testing.T, file string) {
	stop, stopped := make(chan struct{}), make(chan error)
	replace := func() error {
		if err := os.WriteFile(file+".new", []byte("x"), 0o644); err != nil {
			return err
		}
		return os.Rename(file+".new", file)
	}
	kit.Must(t, replace())
	go func() {
		for {
			select {
			case <-stop:
				close(stopped)
				return
			case <-time.After(time.Millisecond):
			}
			if err := replace(); err != nil {
				stopped <- err
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		kit.Must(t, <-stopped)
	})
}

// Source: runc, podman: /etc/resolv.conf, replaced by the network manager: no such file
// or directory.
func TestAFileThatIsReplacedDuringALaunch(t *testing.T) {
	file := filepath.Join(workspace(t), "file")
	replaceAllTheTime(t, file)
	for range kit.Rounds(60, 600) {
		r := kit.Run(t, "run", "--bind-ro", file+":/etc/passwd", "--bind", file+":/mnt/x", kit.Image, "cat", "/etc/passwd", "/mnt/x")
		if r.Out != "xx" || r.Err != "" {
			t.Fatalf("%+v", r)
		}
	}
	kit.NothingLeft(t)
}
