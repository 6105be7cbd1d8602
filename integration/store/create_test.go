package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// path makes a directory for PATH that holds bootstrap programs of ours, which write
// down how they were called, and returns where.
func path(t *testing.T, programs ...string) (dir, calls string) {
	t.Helper()
	dir = t.TempDir()
	calls = filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$(basename $0) $*\" >>" + calls + "\necho progress\n"
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, calls
}

func create(t *testing.T, searchPath string, args ...string) kit.Result {
	t.Helper()
	cmd := exec.Command(kit.Runtime, append([]string{"image", "create"}, args...)...)
	cmd.Env = []string{"PATH=/nosuch"}
	if searchPath != "" {
		cmd.Env = []string{"PATH=" + searchPath + ":/usr/bin:/bin"}
	}
	return kit.Do(t, cmd)
}

func TestTheBootstrapProgramIsCalledAsItWantsToBe(t *testing.T) {
	store := kit.NewStore(t)
	both, calls := path(t, "mmdebstrap", "debootstrap")
	r := create(t, both, "one", "--suite", "bookworm", "--arch", "i386", "--include", "git,cmake", "--mirror", "http://mirror.example/debian", "--store", store)
	if r.Code != 0 || !strings.HasPrefix(r.Out, "image one@1: sha256:") || !strings.HasSuffix(r.Err, "without updates and security updates: a recipe's sources can name them\nprogress\n") {
		t.Errorf("%+v", r)
	}
	call, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "mmdebstrap --simulate --architectures=i386 --variant=minbase --include=git,cmake bookworm /dev/null http://mirror.example/debian\n"+
		"mmdebstrap --architectures=i386 --variant=minbase --include=git,cmake bookworm "+store+"/.mayfly/.new-", " http://mirror.example/debian\n"
	if !strings.HasPrefix(string(call), begin) || !strings.HasSuffix(string(call), end) {
		t.Errorf("called %q, want %q...%q", call, begin, end)
	}
	for _, name := range []string{"proc", "home", "etc/passwd", "var/tmp"} {
		if _, err := os.Lstat(filepath.Join(store, "one", "current", name)); err != nil {
			t.Errorf("mount point: %v", err)
		}
	}
	if r := create(t, both, "one", "--suite", "bookworm", "--store", store); r.Code != 125 || !strings.Contains(r.Err, "image one exists") {
		t.Errorf("a name that is taken: %+v", r)
	}
	empty(t, store)
}

func TestDebootstrapIsNotGivenARecipeThatItWouldNotKeep(t *testing.T) {
	store := kit.NewStore(t)
	only, calls := path(t, "debootstrap")
	recipe := filepath.Join(t.TempDir(), "image.toml")
	kit.Must(t, os.WriteFile(recipe, []byte("suite = \"bookworm\"\nsources = [\"deb http://mirror.example/more bookworm main\"]\n"), 0o644))
	cmd := exec.Command(kit.Runtime, "image", "create", "one", recipe, "--store", store)
	cmd.Env = []string{"PATH=" + only}
	if r := kit.Do(t, cmd); r.Code != 125 || !strings.Contains(r.Err, "debootstrap does not take any: apt-get install mmdebstrap") {
		t.Errorf("%+v", r)
	}
	if call, err := os.ReadFile(calls); err == nil {
		t.Errorf("called: %s", call)
	}
	empty(t, store)
}

func TestWithoutABootstrapProgramItIsSaidWhichToInstall(t *testing.T) {
	store := kit.NewStore(t)
	if r := create(t, "", "one", "--suite", "bookworm", "--store", store); r.Code != 125 || !strings.Contains(r.Err, "apt-get install mmdebstrap") {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct{ args, text string }{
		{"one", "either suite or from"},
		{"", "no NAME given"},
		{"../one --suite bookworm", "image name"},
		{"one --suite --variant", "--variant"},
		{"one --suite bookworm --include a,,b", `""`},
		{"one two --suite bookworm", `recipe "two" and flags`},
	} {
		r := create(t, "", append(strings.Fields(c.args), "--store", store)...)
		if r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, c.text) {
			t.Errorf("%q: %+v, want %q", c.args, r, c.text)
		}
	}
	empty(t, store)
}

func TestAFailedCreationLeavesNothing(t *testing.T) {
	store := kit.NewStore(t)
	r := kit.Root(t, "image", "create", "one", "--suite", "nosuchsuite", "--store", store)
	if r.Code != 125 || !strings.Contains(r.Err, "runtime: image one: mmdebstrap failed") {
		t.Errorf("%+v", r)
	}
	empty(t, store)
	if entries, err := os.ReadDir(store); err != nil || len(entries) != 1 {
		t.Errorf("in the store: %v, %v", entries, err)
	}
}

// TestAnInterruptedCreationLeavesNothing interrupts mmdebstrap itself, with all that
// it has running and mounted by then.
func TestAnInterruptedCreationLeavesNothing(t *testing.T) {
	store := kit.NewStore(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		cmd := exec.Command(kit.Runtime, "image", "create", "one", "--suite", "bookworm", "--store", store)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kit.Eventually(t, "mmdebstrap has begun", func() bool {
			found, _ := filepath.Glob(filepath.Join(store, ".mayfly", ".new-*", "var", "lib", "apt"))
			return len(found) == 1
		})
		time.Sleep(time.Second)
		_ = cmd.Process.Signal(signal)
		_ = cmd.Wait()
		if code := kit.Code(cmd.ProcessState); signal != syscall.SIGKILL && code != 125 {
			t.Errorf("%v: exit %d", signal, code)
		}
		if signal == syscall.SIGKILL {
			kit.Eventually(t, "mmdebstrap ends with its parent", func() bool {
				return exec.Command("pgrep", "-f", "mmdebstrap.*"+store).Run() != nil
			})
			kit.Succeed(t, "gc", "--store", store)
		}
		empty(t, store)
		if _, err := os.Stat(filepath.Join(store, "one")); err == nil {
			t.Errorf("%v: half an image is there", signal)
		}
	}
}
