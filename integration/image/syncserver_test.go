package image

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mayfly/integration/kit"
)

// A farm is a published directory behind a web server that counts what it serves.
type farm struct {
	*httptest.Server
	dir string

	mu     sync.Mutex
	bytes  int64
	broken int64 // each answer ends after so many bytes; 0: it is whole
	flood  bool  // an answer has more than it should
	ranges bool  // it continues files
}

func newFarm(t *testing.T, dir string) *farm {
	f := &farm{dir: dir, ranges: true}
	files := http.FileServer(http.Dir(dir))
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.ranges {
			r.Header.Del("Range")
		}
		if f.flood && strings.HasPrefix(r.URL.Path, "/files/") { // in chunks, without a length
			for range 1000 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
			return
		}
		files.ServeHTTP(&counting{w, f, strings.HasPrefix(r.URL.Path, "/files/")}, r)
	}))
	t.Cleanup(f.Close)
	return f
}

type counting struct {
	http.ResponseWriter
	farm *farm
	file bool
}

func (c *counting) Write(b []byte) (int, error) {
	c.farm.mu.Lock()
	defer c.farm.mu.Unlock()
	c.farm.bytes += int64(len(b))
	if limit := c.farm.broken; limit > 0 && c.file {
		_, _ = c.ResponseWriter.Write(b[:min(limit, int64(len(b)))])
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(b)
}

// served returns the bytes that it has served since the last call.
func (f *farm) served() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.bytes
	f.bytes = 0
	return n
}

// serverBySSH starts sshd(8) for root, and returns its address and the PATH with an
// ssh(1) that knows it. Nothing of root's own settings is used.
func serverBySSH(t *testing.T) (host, path string) {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	kit.Must(t, os.Chmod(dir, 0o700))
	for _, key := range []string{"host", "user"} {
		kit.Command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at(key))
	}
	const port = "20022"
	public, err := os.ReadFile(at("user.pub"))
	kit.Must(t, err)
	hostKey, err := os.ReadFile(at("host.pub"))
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(at("authorized"), public, 0o600))
	kit.Must(t, os.WriteFile(at("known"), []byte("[127.0.0.1]:"+port+" "+string(hostKey)), 0o600))
	kit.Must(t, os.WriteFile(at("sshd_config"), []byte("Port "+port+"\nListenAddress 127.0.0.1\nHostKey "+at("host")+"\nAuthorizedKeysFile "+at("authorized")+
		"\nPermitRootLogin prohibit-password\nStrictModes no\nPidFile none\nUsePAM no\nSetEnv PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"), 0o600))
	kit.Must(t, os.MkdirAll("/run/sshd", 0o755))
	server := exec.Command("/usr/sbin/sshd", "-D", "-q", "-f", at("sshd_config"))
	kit.Must(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	kit.Must(t, os.Mkdir(at("bin"), 0o755))
	kit.Must(t, os.WriteFile(at("bin/ssh"), []byte("#!/bin/sh\nexec /usr/bin/ssh -F none -o BatchMode=yes -o UserKnownHostsFile="+at("known")+" -i "+at("user")+` "$@"`+"\n"), 0o755))
	path = at("bin") + ":" + os.Getenv("PATH")
	kit.Eventually(t, "sshd answers", func() bool {
		cmd := exec.Command(at("bin/ssh"), "-p", port, "127.0.0.1", "true")
		return cmd.Run() == nil
	})
	return "ssh://root@127.0.0.1:" + port, path
}
