package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

const policyFile = "/etc/mayfly/policy.toml"

// smallStore makes an image store of its own, on BTRFS in a file of so many MiB, with
// the helper as an image's only program, and points the policy at it.
func smallStore(t *testing.T, mib int) string {
	t.Helper()
	top := filepath.Join("/var/lib", "mayfly-attack-store")
	file := top + ".btrfs"
	kit.Must(t, os.MkdirAll(top, 0o755))
	script := fmt.Sprintf("truncate -s %dM %s && mkfs.btrfs -q --mixed %s && mount -o loop,nodatacow %s %s && mkdir -m 700 %s/.mayfly && btrfs -q subvolume create %s/tiny && "+
		"mkdir -p %s/tiny/bin %s/tiny/home %s/tiny/etc && cp %s %s/tiny/bin/true", mib, file, file, file, top, top, top, top, top, top, helper, top)
	t.Cleanup(func() {
		_ = exec.Command("umount", "--lazy", top).Run()
		_ = os.Remove(file)
		_ = os.Remove(top)
	})
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	useStore(t, top)
	return top
}

// useStore changes the policy's store for as long as the test.
func useStore(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(policyFile)
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.WriteFile(policyFile, before, 0o644) })
	write(t, policyFile, fmt.Sprintf("store = %q\n%swritable = true\nallow-bind = [\"/\"]\n", path, allow))
}

func left(t *testing.T, store string) []string {
	t.Helper()
	return kit.Snapshots(t, store)
}

func TestC23NoSpace(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		top := smallStore(t, 128)
		if r := w.run(t, "run", "--chdir", "/", "tiny", "/bin/true"); r.Code != 0 {
			t.Fatalf("before: %+v", r)
		}
		// Full of data, and then of metadata: small files live in it.
		fill := exec.Command("sh", "-c", "cd "+top+"; dd if=/dev/zero of=fill bs=64k 2>/dev/null; i=0; while [ $i -lt 30000 ] && echo x >$i 2>/dev/null; do i=$((i+1)); done; sync")
		_ = fill.Run()
		refusals := 0
		for range 20 {
			r := w.run(t, "run", "--chdir", "/", "tiny", "/bin/true")
			if r.Code != 0 {
				refused(t, "on a full disk", r, "no space left")
				refusals++
			}
		}
		t.Logf("%d of 20 launches on a full disk were refused", refusals)
		_ = exec.Command("sh", "-c", "cd "+top+"; rm -f fill [0-9]*; sync").Run()
		kit.Root(t, "gc")
		if r := w.run(t, "run", "--chdir", "/", "tiny", "/bin/true"); r.Code != 0 {
			t.Errorf("with space again: %+v", r)
		}
		if names := left(t, top); len(names) > 0 {
			t.Errorf("left in the store: %v", names)
		}
	})
}

func TestC23ContainerFillsTheStore(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		top := smallStore(t, 128)
		kit.Must(t, exec.Command("sh", "-ec", "mkdir -m 1777 "+top+"/tiny/fill; cp /usr/bin/busybox "+top+"/tiny/bin/sh 2>/dev/null || cp /bin/dash "+top+"/tiny/bin/sh").Run())
		// With quotas, and the snapshot deleted while the file system is full.
		_ = exec.Command("btrfs", "quota", "enable", top).Run()
		_ = exec.Command("btrfs", "qgroup", "limit", "20M", top+"/tiny").Run()
		r := w.run(t, "run", "--writable", "--chdir", "/", "--bind-ro", "/lib:/lib", "--bind-ro", "/lib64:/lib64", "--bind-ro", "/usr:/usr", "tiny", "/usr/bin/dd", "if=/dev/zero", "of=/fill/x", "bs=1M")
		if r.Code == 0 || !strings.Contains(r.Err, "No space") && !strings.Contains(r.Err, "quota") {
			t.Errorf("dd: %+v", r)
		}
		if names := left(t, top); len(names) > 0 {
			t.Errorf("left in the store: %v", names)
		}
		if r := w.run(t, "run", "--chdir", "/", "tiny", "/bin/true"); r.Code != 0 {
			t.Errorf("afterwards: %+v", r)
		}
	})
}

func TestC24OddStores(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		plain := t.TempDir()
		kit.Must(t, os.MkdirAll(filepath.Join(plain, "tiny", "bin"), 0o755))
		for path, why := range map[string]string{"/nosuch/store": "no image store", "/etc/passwd": "", "/home/" + kit.User: "owned by uid", "/tmp": "writable", "/proc": ""} {
			t.Run(path, func(t *testing.T) {
				useStore(t, path)
				refused(t, path, w.run(t, "run", "tiny", "/bin/true"), why)
			})
		}
		t.Run("not BTRFS", func(t *testing.T) {
			kit.Must(t, os.Chmod(plain, 0o755))
			useStore(t, plain)
			refused(t, "a store on another file system that nobody has made", w.run(t, "run", "tiny", "/bin/true"), "root")
		})
		top := smallStore(t, 128)
		kit.Must(t, exec.Command("mount", "-o", "remount,ro", top).Run())
		refused(t, "a read-only store", w.run(t, "run", "--chdir", "/", "tiny", "/bin/true"), "read-only file system")
		kit.Must(t, exec.Command("mount", "-o", "remount,rw", top).Run())

		cmd := w.cmd(t, "run", "--chdir", "/", "--bind-ro", "/lib:/lib", "--bind-ro", "/lib64:/lib64", "--bind-ro", "/usr:/usr", "tiny", "/usr/bin/sleep", "60")
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		kit.Must(t, exec.Command("umount", "--lazy", top).Run())
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = cmd.Wait()
		if code := kit.Code(cmd.ProcessState); code != 128+15 {
			t.Errorf("the store vanished: exit %d", code)
		}
		refused(t, "a store that has vanished", w.run(t, "run", "--chdir", "/", "tiny", "/bin/true"), "the store is not mounted")
		kit.Must(t, exec.Command("mount", "-o", "loop", top+".btrfs", top).Run())
		if names := left(t, top); len(names) > 0 {
			t.Errorf("left in the store: %v", names)
		}
	})
}

func TestC25TheTerminal(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, flags := range [][]string{{"--tty"}, {"--no-tty"}} {
			args := append(append([]string{"run", "--bind-ro", helper + ":/mnt/helper"}, flags...), kit.Image, "/mnt/helper", "terminal")
			m := kit.OnTerminal(t, kit.User, w.cmd(t, args...))
			before := m.Before
			if code := m.Wait(); code != 0 {
				t.Errorf("%v: exit %d", flags, code)
			}
			for _, want := range []string{"TIOCSTI EPERM", "TIOCLINUX EPERM", "TIOCSTI with high bits EPERM"} {
				if !strings.Contains(m.Shows(), want) {
					t.Errorf("%v: no %q in %q", flags, want, m.Shows())
				}
			}
			if m.Modes() != before {
				t.Errorf("%v: the terminal is not as it was", flags)
			}
		}
		for _, end := range []string{"exit 3", "kill -KILL $$", "kill -TERM $$", "stty raw -echo; exit 0", "stty raw -echo; kill -KILL $$", "nosuchcommand"} {
			m := kit.OnTerminal(t, kit.User, w.cmd(t, "run", kit.Image, "sh", "-c", end))
			before := m.Before
			m.Wait()
			if m.Modes() != before {
				t.Errorf("after %q the terminal is not as it was", end)
			}
		}
		m := kit.OnTerminal(t, kit.User, w.cmd(t, "run", kit.Image, "/nosuch/command"))
		before := m.Before
		if code := m.Wait(); code != 127 || m.Modes() != before {
			t.Errorf("a command that is not there: exit %d", code)
		}
	})
}
