package debian

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestAutopkgtest(t *testing.T) {
	defer kit.NothingLeft(t)
	dir, dsc := aDsc(t)
	r := do(t, 4, dir, "autopkgtest", "--no-built-binaries", dsc, "--", "mayfly", kit.Image) // 4: a test has failed
	contains(t, r.Out+r.Err, "user                 PASS", "background           PASS", "root                 PASS", "fresh                PASS", "fails                FAIL non-zero exit status 3")
}

// The testbed's package lists are there, although the image has none: apt installs what a
// test depends on.
func TestAutopkgtestInstallsWhatATestNeeds(t *testing.T) {
	defer kit.NothingLeft(t)
	dir, tree := source(t)
	tests := filepath.Join(tree, "debian/tests")
	kit.Must(t, os.WriteFile(filepath.Join(tests, "control"), []byte("Test-Command: hello\nDepends: hello\n"), 0o644))
	r := do(t, 0, dir, "autopkgtest", "--no-built-binaries", tree, "--", "mayfly", kit.Image)
	contains(t, r.Out+r.Err, "command1             PASS", "Hello, world!")
}

func TestWrongUseOfTheServer(t *testing.T) {
	for _, c := range []struct{ want, args string }{
		{"usage: ", ""},
		{"usage: ", "--network none --quiet"},
		{"unknown image nosuch", "nosuch"},
		{"unknown flag --nosuch", "--nosuch " + kit.Image},
	} {
		cmd := as(t, "/", append([]string{server}, strings.Fields(c.args)...)...)
		cmd.Stdin = strings.NewReader("open\n")
		r := kit.Do(t, cmd)
		if r.Code == 0 || !strings.Contains(r.Err, c.want) || strings.Contains(r.Err, "Traceback") {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	defer kit.NothingLeft(t)
}

// Autopkgtest's own server for schroot, and ours under that name.
func TestAutopkgtestBySchroot(t *testing.T) {
	defer kit.NothingLeft(t)
	dir, tree := source(t)
	tests := filepath.Join(tree, "debian/tests")
	kit.Must(t, os.WriteFile(filepath.Join(tests, "control"), []byte("Tests: root\nDepends:\nRestrictions: needs-root\n\nTest-Command: test $(id -un) = "+kit.User+"\nDepends:\n"), 0o644))
	cmd := as(t, dir, "autopkgtest", "--no-built-binaries", tree, "--", "schroot", kit.Image+"-sbuild")
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(schrootLink)+":/usr/bin:/bin")
	r := kit.DoWithin(t, kit.Within(5*time.Minute), cmd)
	contains(t, r.Out+r.Err, "root                 PASS", "command1             PASS")
}

// However a test is ended, its testbed ends.
func TestAutopkgtestIsKilled(t *testing.T) {
	defer kit.NothingLeft(t)
	dir, tree := source(t)
	tests := filepath.Join(tree, "debian/tests")
	kit.Must(t, os.WriteFile(filepath.Join(tests, "control"), []byte("Tests: slow\nDepends:\n"), 0o644))
	kit.Must(t, os.WriteFile(filepath.Join(tests, "slow"), []byte("#!/bin/sh\necho runs\nsetsid sleep 1000 &\nsleep 1000\n"), 0o755))
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := as(t, dir, "autopkgtest", "--no-built-binaries", tree, "--", "mayfly", kit.Image)
			output, err := os.Create(filepath.Join(t.TempDir(), "output"))
			kit.Must(t, err)
			defer output.Close()
			cmd.Stdout, cmd.Stderr = output, output
			kit.Must(t, cmd.Start())
			kit.Eventually(t, "the test runs", func() bool {
				data, _ := os.ReadFile(output.Name())
				return strings.Contains(string(data), "\nruns\n")
			})
			kit.Must(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			kit.Eventually(t, "the testbed ends", func() bool { return kit.Run(t, "ps", "--names").Out == "" })
		})
	}
}

func TestSbuildByAutopkgtest(t *testing.T) {
	defer kit.NothingLeft(t)
	maySbuild(t)
	dir, dsc := aDsc(t)
	r := do(t, 0, dir, "sbuild", "--verbose", "--no-run-lintian", "--dist=bookworm", "--arch="+arch,
		"--chroot-mode=autopkgtest", "--autopkgtest-virt-server="+server, "--autopkgtest-virt-server-opt="+kit.Image, dsc)
	contains(t, r.Out, "Status: successful", "built by "+kit.User)
	built(t, dir)
}

// built fails the test unless the package is there, the user's.
func built(t *testing.T, dir string) {
	t.Helper()
	_, uid, _ := kit.Lookup(t, kit.User)
	info, err := os.Stat(filepath.Join(dir, "tiny_1.0_"+arch+".deb"))
	kit.Must(t, err)
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uid {
		t.Errorf("the package is user %d's", owner)
	}
}
