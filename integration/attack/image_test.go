package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"mayfly/integration/kit"
)

func TestM01LinksInImages(t *testing.T) {
	outside := "/home/" + kit.User + "/attack-outside"
	kit.Must(t, os.MkdirAll(outside, 0o777))
	kit.Must(t, os.Chmod(outside, 0o777))
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	for _, place := range []string{"etc/passwd", "etc/group", "etc/hosts", "etc/hostname", "etc/resolv.conf", "home", "tmp", "var/tmp", "run", "proc", "sys", "dev", "opt", "etc"} {
		for what, script := range map[string]string{
			"an absolute link to the host": "ln -s " + outside + " P",
			"a chain upwards":              "ln -s ../../../../../../../.." + outside + " P",
			"a link to itself":             "ln -s $(basename P) P",
			"a link to /proc/1/root":       "ln -s /proc/1/root" + outside + " P",
			"a link to a file of the host": "ln -s /etc/shadow P",
			"a file":                       "echo x >P",
			"a FIFO":                       "mkfifo P",
			"a device":                     "mknod P c 1 3",
			"missing":                      "true",
		} {
			t.Run(place+" is "+what, func(t *testing.T) {
				kit.Change(t, "attack-links", "rm -rf "+place+"; "+strings.ReplaceAll(script, "P", place))
				shadow, err := os.ReadFile("/etc/shadow")
				kit.Must(t, err)
				for _, w := range ways {
					r := w.run(t, "run", "--writable", "--chdir", "/", "attack-links", "/bin/true")
					if r.Code != 0 && r.Code != 125 || r.Code == 125 && strings.Count(r.Err, "\n") != 1 {
						t.Errorf("%s: %+v", w.name, r)
					}
				}
				if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
					t.Fatalf("made on the host: %v, %v", entries, err)
				}
				if after, err := os.ReadFile("/etc/shadow"); err != nil || string(after) != string(shadow) {
					t.Fatal("/etc/shadow is changed")
				}
			})
		}
	}
	kit.NothingLeft(t)
}

func TestM02TheShell(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for what, script := range map[string]string{
			"missing": "true", "a device": "mknod usr/bin/sh c 1 8", "a FIFO": "mkfifo usr/bin/sh", "a directory": "mkdir usr/bin/sh", "a link to itself": "ln -s sh usr/bin/sh",
			"a link to the host": "ln -s /proc/1/root/bin/sh usr/bin/sh", "text": "echo text >usr/bin/sh; chmod 755 usr/bin/sh", "empty": "touch usr/bin/sh; chmod 755 usr/bin/sh",
			"an ELF header and no more": `printf '\177ELF\002\001\001' >usr/bin/sh; chmod 755 usr/bin/sh`,
			"for another machine":       `printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000\002\000\376\312' >usr/bin/sh; chmod 755 usr/bin/sh`, // no architecture has this number, so no emulator is registered for it,
			"a class that is none":      `printf '\177ELF\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377' >usr/bin/sh; chmod 755 usr/bin/sh`,
		} {
			t.Run(what, func(t *testing.T) {
				kit.Change(t, "attack-shell", "rm usr/bin/sh; "+script)
				if r := w.run(t, "run", "attack-shell", "/bin/true"); r.Code != 0 {
					t.Errorf("a command that needs no shell: %+v", r)
				}
				r := w.run(t, "run", "attack-shell", "/bin/sh", "-c", "true")
				if r.Code != 126 && r.Code != 127 || strings.Count(r.Err, "\n") != 1 {
					t.Errorf("the shell: %+v", r)
				}
				if r := w.run(t, "image", "list"); r.Code != 0 {
					t.Errorf("image list: %+v", r)
				}
			})
		}
	})
}

func TestM03NamesInImages(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		kit.Change(t, "attack-names", `cd srv; touch "$(printf 'new\nline')" "$(printf 'escape\033[31m')" "$(printf 'bad\377utf8')"; mkdir "$(printf 'dir\n\033[2J\377')"; printf '#!/x\n\033[31m\n' >script; chmod 755 script`)
		for _, name := range []string{"new\nline", "escape\x1b[31m", "bad\xffutf8", "dir\n\x1b[2J\xff", "dir\n\x1b[2J\xff/none", "script"} {
			r := w.run(t, "run", "attack-names", "/srv/"+name)
			if r.Code != 126 && r.Code != 127 || strings.Count(r.Err, "\n") != 1 || strings.Contains(r.Err, "\x1b") || !utf8.ValidString(r.Err) {
				t.Errorf("%q: %+v", name, r)
			}
			if !strings.Contains(name, "dir") {
				refused(t, name, w.run(t, "run", "--chdir", "/srv/"+name, "attack-names", "true"), "/srv/")
			}
		}
		if r := w.run(t, "run", "attack-names", "ls", "/srv"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
	// In the store, a name that is none is not an image.
	odd := filepath.Join(kit.Store, "odd\n\x1b[31m")
	kit.Must(t, os.Mkdir(odd, 0o755))
	defer os.Remove(odd)
	if r := kit.Root(t, "image", "list"); r.Code != 0 || strings.Contains(r.Out, "odd") {
		t.Errorf("image list: %+v", r)
	}
}

// An image is removed, renamed and made again while it is being run: each run sees one
// whole image, or an error.
func TestM05ImageChangedDuringLaunches(t *testing.T) {
	if !kit.OnBTRFS() {
		t.Log("a plain image changes under those who run on it where nothing can be snapshotted: that is documented, and has no test")
		return
	}
	each(t, func(t *testing.T, w way) {
		kit.Change(t, "attack-a", "echo one >srv/first; echo one >srv/last")
		kit.Change(t, "attack-b", "echo two >srv/first; echo two >srv/last")
		live, next := filepath.Join(kit.Store, "attack-live"), filepath.Join(kit.Store, "attack-next")
		t.Cleanup(func() {
			for _, path := range []string{live, next} {
				_ = exec.Command("btrfs", "subvolume", "delete", path).Run()
			}
		})
		stop := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				source := filepath.Join(kit.Store, []string{"attack-a", "attack-b"}[i%2])
				_ = exec.Command("btrfs", "subvolume", "snapshot", source, next).Run()
				if i%3 == 0 {
					_ = exec.Command("mv", live, live+"-old").Run()
					_ = exec.Command("btrfs", "subvolume", "delete", live+"-old").Run()
				} else {
					_ = exec.Command("btrfs", "subvolume", "delete", live).Run()
				}
				_ = os.Rename(next, live)
			}
		})
		whole, errors := 0, 0
		for range kit.Rounds(30, 100) {
			r := w.run(t, "run", "attack-live", "cat", "/srv/first", "/srv/last")
			switch {
			case r.Code == 0 && (r.Out == "one\none\n" || r.Out == "two\ntwo\n"):
				whole++
			case r.Code == 125:
				refused(t, "while there is none", r, "")
				errors++
			default:
				t.Errorf("%+v", r)
			}
		}
		close(stop)
		group.Wait()
		t.Logf("%d whole, %d errors", whole, errors)
		if whole == 0 {
			t.Error("none ran")
		}
	})
}

// An image's versions are added, switched, pruned, and the image renamed and removed,
// while it is being run.
func TestM05VersionsDuringLaunches(t *testing.T) {
	source := func(text string) string {
		tree := filepath.Join(t.TempDir(), text)
		kit.Must(t, exec.Command("sh", "-ec", "mkdir -p "+tree+"/bin "+tree+"/srv; cp "+helper+" "+tree+"/bin/helper; echo "+text+" >"+tree+"/srv/first; echo "+text+" >"+tree+"/srv/last").Run())
		return tree
	}
	one, two := source("one"), source("two")
	each(t, func(t *testing.T, w way) {
		kit.Succeed(t, "image", "import", "attack-versions", one)
		stop := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			changes := [][]string{{"import", "--next", "attack-versions", two}, {"rollback", "attack-versions"}, {"import", "--next", "attack-versions", one},
				{"prune", "--keep", "1", "attack-versions"}, {"rename", "attack-versions", "attack-away"}, {"rename", "attack-away", "attack-versions"},
				{"remove", "--force", "attack-versions"}, {"import", "attack-versions", one}}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_ = exec.Command(kit.Runtime, append([]string{"image"}, changes[i%len(changes)]...)...).Run()
			}
		})
		whole, errors := 0, 0
		for i := range kit.Rounds(80, 200) {
			args := []string{"run", "--chdir", "/", "attack-versions", "/bin/helper", "show", "/srv/first", "/srv/last"}
			if i%2 == 1 {
				args = append([]string{"run", "--writable"}, args[1:]...)
			}
			r := w.run(t, args...)
			switch {
			case r.Code == 0 && (r.Out == "one\none\n" || r.Out == "two\ntwo\n"):
				whole++
			case r.Code == 125:
				refused(t, "while there is none", r, "unknown image")
				errors++
			default:
				t.Errorf("%+v", r)
			}
		}
		close(stop)
		group.Wait()
		for _, name := range []string{"attack-versions", "attack-away"} {
			_ = exec.Command(kit.Runtime, "image", "remove", name).Run()
		}
		t.Logf("%d whole, %d errors", whole, errors)
		if whole < kit.Rounds(8, 20) {
			t.Errorf("only %d ran", whole)
		}
	})
	kit.NothingLeft(t)
}

// A FIFO is a pipe to whoever has the file: two containers must not have the same one.
func TestM06PipesOfAnImage(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	kit.Must(t, exec.Command("sh", "-ec", "mkdir -p "+tree+"/bin "+tree+"/srv; cp "+helper+" "+tree+"/bin/helper; mkfifo -m 666 "+tree+"/srv/fifo").Run())
	kit.Succeed(t, "image", "import", "attack-fifo", tree)
	defer kit.Succeed(t, "image", "remove", "attack-fifo")
	together(t, func(t *testing.T, w way) {
		reader := w.cmd(t, "run", "--chdir", "/", "--timeout", kit.Within(3*time.Second).String(), "attack-fifo", "/bin/helper", "show", "/srv/fifo")
		var out strings.Builder
		reader.Stdout = &out
		kit.Must(t, reader.Start())
		time.Sleep(kit.Within(time.Second))
		writer := w.cmd(t, "run", "--chdir", "/", "--timeout", kit.Within(time.Second).String(), "attack-fifo", "/bin/helper", "tell", "/srv/fifo")
		_ = writer.Run()
		_ = reader.Wait()
		if code := kit.Code(reader.ProcessState); out.Len() > 0 || code != 124 {
			t.Errorf("one container hears %q from another, exit %d", out.String(), code)
		}
	})
	kit.NothingLeft(t)
}
