package attack

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

func TestC15BindSources(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir, private := home(t, kit.User), home(t, kit.Other)
		write(t, filepath.Join(private, "secret"), "x")
		fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
		kit.Must(t, syscall.Mkfifo(fifo, 0o666))
		listener, err := net.Listen("unix", socket)
		kit.Must(t, err)
		defer listener.Close()
		for name, target := range map[string]string{"magic": "/proc/self/root", "init": "/proc/1/root", "cwd": "/proc/1/cwd", "shadow": "/etc/shadow", "dangling": "/nosuch", "loop": "loop", "other": private, "disk": "/dev/loop0"} {
			kit.Must(t, os.Symlink(target, filepath.Join(dir, name)))
		}
		for _, source := range []string{
			fifo, socket, "/proc/1/root", "/proc/1/cwd", "/proc/self/exe/x", "/proc", "/proc/self", "/proc/self/fd/0/..", "/proc/sys", private, private + "/secret", "/root", "/etc/shadow", "/var/lib/machines/" + kit.Image,
			"/var/lib/machines/.mayfly", "/run/mayfly/0", "/dev/null", "/dev/tty", "/dev/loop0", dir + "/init", dir + "/cwd", dir + "/magic", "/", "/../", "//", dir + "/shadow", dir + "/dangling", dir + "/loop", dir + "/other", dir + "/disk",
			"/home/" + strings.Repeat("x/", 2200), "/nosuch\nnewline", "/nosuch\x1b[31m", "",
		} {
			refused(t, fmt.Sprintf("%.60q", source), w.run(t, "run", "--bind-ro", source+":/mnt/x", kit.Image, "true"), "bind")
		}
		kit.Must(t, os.Chmod(private, 0o755))
		closed := filepath.Join(private, "socket")
		theirs, err := net.Listen("unix", closed)
		kit.Must(t, err)
		defer theirs.Close()
		kit.Must(t, os.Chmod(closed, 0o755)) // to connect takes the right to write
		kit.Must(t, syscall.Mkfifo(filepath.Join(private, "fifo"), 0o600))
		for _, source := range []string{"/proc/self/fd/0", "/proc/self/fd/5", closed, filepath.Join(private, "fifo"),
			"/dev/null", "/dev/tty", "/dev/loop0", "/run/mayfly/0", dir + "/disk"} {
			refused(t, source, w.run(t, "run", "--bind", source+":/mnt/x", kit.Image, "true"), "bind")
		}
		odd := filepath.Join(dir, "new\nline\x1b")
		kit.Must(t, os.Mkdir(odd, 0o755))
		if r := w.inside(t, "ls -d /mnt/x", "--bind", odd+":/mnt/x"); r.Code != 0 {
			t.Errorf("a path with a newline: %+v", r)
		}
	})
}

// While one process exchanges a directory that the caller may read with links to what
// they may not, at source and target, launches go on: never is anything foreign inside.
func TestC15SwappedDuringTheLaunch(t *testing.T) {
	launches := map[string]int{"filecaps": 3000, "setuid": 3000, "ambient": 3000, "sudo": 1000} // sudo, the slowest, only starts the binary
	const short = 12                                                                            // a twelfth of them in the short form
	secret := filepath.Join("/root", "attack-secret")
	write(t, filepath.Join(secret, "foreign"), "x")
	kit.Must(t, os.Chmod(secret, 0o700))
	t.Cleanup(func() { _ = os.RemoveAll(secret) })
	each(t, func(t *testing.T, w way) {
		dir, private := home(t, kit.User), home(t, kit.Other)
		write(t, filepath.Join(private, "foreign"), "x")
		kit.Must(t, os.Chmod(private, 0o700))
		_, uid, gid := kit.Lookup(t, kit.User)
		for name, make := range map[string]func(string) error{
			"a":      func(n string) error { return os.Mkdir(n, 0o755) },
			"b":      func(n string) error { return os.Symlink(secret, n) },
			"c":      func(n string) error { return os.Symlink(private, n) },
			"target": func(n string) error { return os.Mkdir(n, 0o755) },
			"away":   func(n string) error { return os.Symlink("/etc", n) },
		} {
			kit.Must(t, make(filepath.Join(dir, name)))
			kit.Must(t, os.Lchown(filepath.Join(dir, name), int(uid), int(gid)))
		}
		write(t, filepath.Join(dir, "a", "mine"), "x")
		swap := kit.As(t, kit.User, helper, "swap", "a", "b", "a", "c", "target", "away")
		swap.Dir = dir
		kit.Must(t, swap.Start())
		defer func() { _ = swap.Process.Kill(); _ = swap.Wait() }()
		var ran, refusals, foreign atomic.Int64
		var group sync.WaitGroup
		work := make(chan int)
		for range 3 {
			group.Go(func() {
				for i := range work {
					// The mount point is on a bind too, where its name is exchanged as
					// well.
					flags := []string{"run", "--bind-ro", dir + "/a:/mnt", "--bind-ro", dir + "/a:" + dir + "/target"}
					if i%4 != 0 {
						flags = flags[:3]
					}
					r := kit.Do(t, w.cmd(t, append(flags, kit.Sealed, "sh", "-c", "[ -O /mnt ] || echo foreign owner; for f in /mnt/* "+dir+"/target/*; do [ ! -e $f ] || echo $f; done")...))
					if strings.Contains(r.Out, "foreign") {
						foreign.Add(1)
						t.Errorf("foreign files inside: %+v", r)
					}
					switch {
					case r.Code == 125:
						refusals.Add(1)
					default:
						ran.Add(1)
					}
				}
			})
		}
		for i := range kit.Rounds(launches[w.name]/short, launches[w.name]) {
			if foreign.Load() > 0 {
				break
			}
			work <- i
		}
		close(work)
		group.Wait()
		t.Logf("%d ran, %d were refused, %d saw foreign files", ran.Load(), refusals.Load(), foreign.Load())
		if ran.Load() == 0 || refusals.Load() == 0 {
			t.Error("the race was none: want some that ran and some that were refused")
		}
		gc(t)
	})
	if out, err := exec.Command("sh", "-c", "ls /etc/mine /etc/foreign 2>/dev/null").Output(); err == nil || len(out) > 0 {
		t.Errorf("made on the host: %s", out)
	}
}

// What the administrator binds is not for the caller to turn elsewhere, by a link in a
// directory of theirs; nor are the directories in which they may ask for binds.
func TestC16LinksUnderThePolicysPaths(t *testing.T) {
	secret := "/var/lib/mayfly-attack-secret"
	write(t, filepath.Join(secret, "open", "file"), "secret")
	kit.Must(t, os.Chmod(secret, 0o700))
	t.Cleanup(func() { _ = os.RemoveAll(secret) })
	each(t, func(t *testing.T, w way) {
		dir := directory(t, "/var/tmp", kit.User) // homes may be closed
		kit.Must(t, os.Chmod(dir, 0o755))         // else root, who holds no capability for it, sees no link
		link := filepath.Join(dir, "bound")
		kit.Must(t, os.Symlink(secret+"/open", link))
		rule(t, fmt.Sprintf("[[rule]]\nimages=[\"*\"]\nbind=[\"/home\", %q]\nallow-bind=[%q]\n", link, link))
		refused(t, "the policy's bind", w.run(t, "run", kit.Image, "cat", link+"/file"), "bind source")
		kit.Must(t, relink(link, "/srv"))
		rule(t, fmt.Sprintf("[[rule]]\nimages=[\"*\"]\nallow-bind=[%q]\n", link))
		refused(t, "what the caller may ask for", w.run(t, "run", "--bind-ro", "/srv:/mnt", kit.Image, "true"), "allows --bind-ro only below")
		// A directory that the caller cannot reach comes in if the policy names it.
		rule(t, fmt.Sprintf("[[rule]]\nimages=[\"*\"]\nbind-ro=[%q]\n", secret+"/open"))
		if r := w.run(t, "run", "--chdir", "/", kit.Image, "cat", secret+"/open/file"); r.Out != "secret" {
			t.Errorf("%+v", r)
		}
	})
}

func TestC16NothingIsOpenedForTheCaller(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for name, mode := range map[string]os.FileMode{"rootfile": 0o600, "rootdir": 0o700, "execonly": 0o711} {
			path := filepath.Join(dir, name)
			if strings.HasSuffix(name, "file") {
				write(t, path, "secret")
			} else {
				kit.Must(t, os.Mkdir(path, mode))
				write(t, filepath.Join(path, "inner"), "secret")
			}
			kit.Must(t, os.Chmod(path, mode))
			refused(t, name, w.run(t, "run", "--bind-ro", path+":/mnt/x", kit.Image, "true"), "permission denied")
		}
		refused(t, "inside a closed directory", w.run(t, "run", "--bind-ro", dir+"/rootdir/inner:/mnt/x", kit.Image, "true"), "permission denied")
		// A group that the caller has counts; one that the launcher might have does
		// not.
		byGroup := filepath.Join(dir, "bygroup")
		write(t, byGroup, "shared")
		kit.Must(t, os.Chmod(byGroup, 0o640))
		kit.Must(t, exec.Command("chgrp", kit.Group, byGroup).Run())
		if r := w.inside(t, "cat /mnt/x", "--bind-ro", byGroup+":/mnt/x"); r.Out != "shared" {
			t.Errorf("a file of the caller's group: %+v", r)
		}
		kit.Must(t, exec.Command("chgrp", "root", byGroup).Run())
		refused(t, "a file of root's group", w.run(t, "run", "--bind-ro", byGroup+":/mnt/x", kit.Image, "true"), "permission denied")
	})
}

func TestC17BindTargets(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		kit.Change(t, "attack-target", "ln -s /srv mnt/abs; ln -s ../../../../../../srv mnt/rel; ln -s /proc mnt/proc; ln -s / mnt/root; ln -s /nosuch/host mnt/out; mkdir mnt/dir; touch mnt/file; ln -s /dev mnt/dev")
		dir := home(t, kit.User)
		write(t, filepath.Join(dir, "mine"), "x")
		for _, target := range []string{
			"/", "//", "/.", "/mnt/..", "/mnt/../proc", "/proc", "/proc/self", "/proc/1/root", "/proc/sys", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "/dev/null", "/dev/pts",
			"relative", "", "/mnt/file", "/mnt/file/x", "/mnt/proc", "/mnt/proc/sys", "/mnt/root", "/mnt/out/x", "/etc/passwd", "/etc/hosts",
		} {
			refused(t, "directory on "+target, w.run(t, "run", "--bind", dir+":"+target, "attack-target", "true"), "")
		}
		for _, target := range []string{"/mnt", "/mnt/dir", "/usr", "/mnt/dev/null", "/mnt/dev/tty", "/mnt/dev/console", "/mnt/dev/pts/ptmx"} {
			refused(t, "file on "+target, w.run(t, "run", "--bind", dir+"/mine:"+target, "attack-target", "true"), "")
		}
		// A file covers the link itself; for a directory a link in the image leads to a
		// place in the image.
		if r := w.run(t, "run", "--bind", dir+"/mine:/mnt/abs", "attack-target", "cat", "/mnt/abs"); r.Out != "x" {
			t.Errorf("a file on a link: %+v", r)
		}
		for _, link := range []string{"abs", "rel"} {
			r := w.run(t, "run", "--bind-ro", dir+":/mnt/"+link, "attack-target", "ls", "/srv")
			if r.Out != "mine\n" {
				t.Errorf("through %s: %+v", link, r)
			}
		}
		if _, err := os.Stat("/srv/mine"); err == nil {
			t.Error("/srv/mine is on the host")
		}
	})
}

// What the program has open itself, root's store and images among it, is nothing that a
// path of the caller's leads to.
func TestC15DescriptorsOfTheProgram(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for n := 3; n < 40; n++ {
			if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
				continue // this test was started with it, and hands it on
			}
			for _, of := range []string{"/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"} {
				source := fmt.Sprintf("%s/%d", of, n)
				what := fmt.Sprintf("%s as a bind", source)
				refused(t, what, w.run(t, "run", "--quiet", "--chdir", "/", "--bind", source+":/mnt", kit.Image, "true"), "bind source")
				refused(t, what+", below", w.run(t, "run", "--quiet", "--chdir", "/", "--bind-ro", source+"/tmp:/mnt", kit.Image, "true"), "bind source")
				if of != "/proc/self/fd" {
					continue
				}
				for _, flag := range []string{"--log", "--stats", "--status"} {
					refused(t, flag+" "+source, w.run(t, "run", "--quiet", "--chdir", "/", flag, source, kit.Image, "true"), flag)
					refused(t, flag+" "+source+"/tmp/x", w.run(t, "run", "--quiet", "--chdir", "/", flag, source+"/tmp/x", kit.Image, "true"), flag)
				}
			}
		}
		link := filepath.Join(dir, "link")
		kit.Must(t, os.Symlink("/proc/self/fd/9", link))
		refused(t, "by a link", w.run(t, "run", "--chdir", "/", "--bind", link+":/mnt", kit.Image, "true"), "bind source")
		if left, _ := filepath.Glob("/var/lib/machines/" + kit.Image + "/tmp/*"); len(left) > 0 {
			t.Errorf("in the image: %q", left)
		}
	})
}
