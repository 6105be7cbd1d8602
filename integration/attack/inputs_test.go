package attack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
	"mayfly/runtime/inputs"
)

// watchedRun prepares a run with --inputs in a directory, and what reads its record.
func watchedRun(t *testing.T, user, dir, script string, flags ...string) (*exec.Cmd, func() inputs.Report) {
	t.Helper()
	name := filepath.Join(dir, "inputs.json")
	cmd := kit.As(t, user, append(append([]string{kit.Runtime, "run", "--quiet", "--inputs", name}, flags...), kit.Image, "--", "sh", "-c", script)...)
	cmd.Dir = dir
	return cmd, func() (r inputs.Report) {
		t.Helper()
		data, err := os.ReadFile(name)
		kit.Must(t, err)
		kit.Must(t, json.Unmarshal(data, &r))
		return r
	}
}

func opens(r inputs.Report, path string) bool {
	return slices.ContainsFunc(r.Files, func(f inputs.File) bool { return f.Path == path })
}

// The record has what the container opens, and nothing of what others open of the same
// files at the same time: on the host, or in containers of theirs.
func TestARecordTellsNothingOfOthers(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	shared, err := os.MkdirTemp("/opt", "shared-")
	kit.Must(t, errors.Join(err, os.Chmod(shared, 0o755)))
	t.Cleanup(func() { os.RemoveAll(shared) })
	for _, name := range []string{"own", "hosts", "others"} {
		kit.Must(t, os.WriteFile(filepath.Join(shared, name), nil, 0o644))
	}
	cmd, report := watchedRun(t, kit.User, dir, "cat "+shared+"/own; echo ready >ready; while [ ! -e go ]; do sleep 0.05; done")
	kit.Must(t, cmd.Start())
	kit.Eventually(t, "the container runs", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	_, err = os.ReadFile(filepath.Join(shared, "hosts"))
	kit.Must(t, err)
	if r := kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "run", "--chdir", "/", kit.Image, "cat", shared+"/others")); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	kit.Must(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o644))
	kit.Must(t, cmd.Wait())
	r := report()
	if !opens(r, shared+"/own") || opens(r, shared+"/hosts") || opens(r, shared+"/others") {
		t.Errorf("%+v", r.Files)
	}
}

// What a command does to read a file unseen: descriptors and directories that it has
// opened before it changes names, links, mounts of its own, the root directory of
// another process, a socket.
func TestARunHidesNoRead(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	_, uid, gid := kit.Lookup(t, kit.User)
	secret := filepath.Join(dir, "outside", "secret")
	kit.Must(t, errors.Join(os.MkdirAll(filepath.Dir(secret), 0o755), os.WriteFile(secret, []byte("secret\n"), 0o644), os.Mkdir(filepath.Join(dir, "project"), 0o755)))
	for _, name := range []string{"outside", "outside/secret", "project"} {
		kit.Must(t, os.Chown(filepath.Join(dir, name), int(uid), int(gid)))
	}
	for _, c := range []struct{ script, path string }{
		{"cat ../outside/secret", secret},
		{"cd ../outside; cat secret", secret},
		{"ln -s ../outside/secret link; cat link; rm link", secret},
		{"cat /proc/self/root$PWD/../outside/secret", secret},
		{"cat /proc/self/cwd/../outside/secret", secret},
		{"exec 3<../outside/secret; cat <&3", secret},
		{"unshare -Urm sh -c 'mount --bind ../outside /mnt && cat /mnt/secret'; cat ../outside/secret", secret},
		{"(exec 3<../outside/secret; cat /proc/self/fd/3)", secret},
		{"ln ../outside/secret hard && cat hard; rm hard", filepath.Join(dir, "project", "hard")},
	} {
		for _, flags := range [][]string{{}, {"--root"}} {
			cmd, report := watchedRun(t, kit.User, filepath.Join(dir, "project"), c.script, flags...)
			r := kit.Do(t, cmd)
			if n := strings.Count(r.Out, "secret"); n == 0 || !opens(report(), c.path) || n > 1 && strings.Contains(c.script, "mount") {
				t.Errorf("%q, %q: %+v: not in %+v", flags, c.script, r, report().Files)
			}
		}
	}
	// A rename moves what is told, to another name that the caller can see.
	cmd, report := watchedRun(t, kit.User, filepath.Join(dir, "project"), "cat ../outside/secret; mv ../outside/secret ../outside/other; mv ../outside/other ../outside/secret")
	if r := kit.Do(t, cmd); r.Code != 0 || !slices.ContainsFunc(report().Files, func(f inputs.File) bool { return strings.HasPrefix(f.Path, filepath.Dir(secret)+"/") }) {
		t.Errorf("%+v, %+v", r, report().Files)
	}
}

// A caller who stops the program while the container opens more files than the kernel
// keeps is told that the record is not complete. Nobody waits for it.
func TestAFullQueueIsTold(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	const script = `mkdir d; echo ready >ready; while [ ! -e go ]; do sleep 0.05; done; i=0; while [ $i -lt 20000 ]; do : >d/$i; i=$((i+1)); done; echo done >done; while [ ! -e end ]; do sleep 0.05; done`
	cmd, report := watchedRun(t, kit.User, dir, script)
	kit.Must(t, cmd.Start())
	there := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	}
	kit.Eventually(t, "the container runs", there("ready"))
	kit.Must(t, errors.Join(cmd.Process.Signal(syscall.SIGSTOP), os.WriteFile(filepath.Join(dir, "go"), nil, 0o644)))
	kit.Eventually(t, "it goes on while the program is stopped", there("done"))
	kit.Must(t, errors.Join(cmd.Process.Signal(syscall.SIGCONT), os.WriteFile(filepath.Join(dir, "end"), nil, 0o644)))
	kit.Must(t, cmd.Wait())
	if r := report(); r.Complete || len(r.Missed) != 1 || !strings.Contains(r.Missed[0], "max_queued_events") {
		t.Errorf("complete %v, %q, %d files", r.Complete, r.Missed, len(r.Files))
	}
	// With a list of what may be opened such a run fails. (The whole host may be.)
	list := filepath.Join(dir, "list")
	kit.Must(t, os.WriteFile(list, []byte("/\n"), 0o644))
	for _, name := range []string{"ready", "go", "done", "end", "d"} {
		kit.Must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	var out strings.Builder
	cmd, _ = watchedRun(t, kit.User, dir, script, "--allow-inputs", list)
	cmd.Stderr = &out
	kit.Must(t, cmd.Start())
	kit.Eventually(t, "the container runs", there("ready"))
	kit.Must(t, errors.Join(cmd.Process.Signal(syscall.SIGSTOP), os.WriteFile(filepath.Join(dir, "go"), nil, 0o644)))
	kit.Eventually(t, "it goes on while the program is stopped", there("done"))
	kit.Must(t, errors.Join(cmd.Process.Signal(syscall.SIGCONT), os.WriteFile(filepath.Join(dir, "end"), nil, 0o644)))
	if err := cmd.Wait(); err == nil || kit.Code(cmd.ProcessState) != 125 || !strings.Contains(out.String(), "it cannot be told whether more was opened") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// The kernel opens each file again in the program's process, also files that the caller
// may not read. The caller gets at none of these descriptors.
func TestTheDescriptorsOfARecordAreTheProgramsOwn(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	cmd, report := watchedRun(t, kit.User, dir, "echo x >mine; chown 1000:1000 mine; chmod 600 mine; echo ready >ready; while [ ! -e go ]; do su -s /bin/cat '#1000' mine 2>/dev/null; cat mine; done", "--root")
	kit.Must(t, cmd.Start())
	kit.Eventually(t, "the container runs", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	look := kit.Do(t, kit.As(t, kit.User, "sh", "-c", fmt.Sprintf("for i in $(seq 50); do ls -l /proc/%d/fd /proc/%d/task/*/fd; cat /proc/%d/fd/*; done 2>&1", cmd.Process.Pid, cmd.Process.Pid, cmd.Process.Pid)))
	if strings.Contains(look.Out, "->") || !strings.Contains(look.Out, "denied") {
		t.Errorf("the caller sees descriptors: %.500s", look.Out)
	}
	kit.Must(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o644))
	kit.Must(t, cmd.Wait())
	if r := report(); !r.Complete || !opens(r, filepath.Join(dir, "mine")) {
		t.Errorf("%+v", r)
	}
}

// Processes of the caller's outside of the container that go on opening files by its
// mounts, and a file system of theirs that does not answer, keep no container from
// ending.
func TestARecordEndsThoughItsMountsAreInUse(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	cmd, report := watchedRun(t, kit.User, dir, "sleep 1234 & echo ready >ready; while [ ! -e end ]; do sleep 0.05; done")
	kit.Must(t, cmd.Start())
	there := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	}
	kit.Eventually(t, "the container runs", there("ready"))
	// A process enters the working directory by way of a process of the container.
	storm := kit.As(t, kit.User, "sh", "-c", `for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" = "sleep 1234 " ] && cd $p/root`+dir+` && echo yes >storming && break; done
mkdir many; for i in 1 2 3 4 5 6; do perl -e 'while (1) { open(F, "+>>", "many/" . ($i++ % 3000)); close F }' & done; wait`)
	storm.SysProcAttr.Setpgid = true
	kit.Must(t, storm.Start())
	defer func() {
		_ = syscall.Kill(-storm.Process.Pid, syscall.SIGKILL)
		_ = storm.Wait()
	}()
	kit.Eventually(t, "others open files by the container's mounts", there("many/2999"))
	kit.Must(t, os.WriteFile(filepath.Join(dir, "end"), nil, 0o644))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		kit.Must(t, err)
	case <-time.After(kit.Within(30 * time.Second)):
		t.Fatal("the run does not end while others use its mounts")
	}
	if r := report(); !opens(r, filepath.Join(dir, "ready")) {
		t.Errorf("what is opened by the container's mounts is told, whoever does: %+v", r.Files)
	}
}

// Mounts that nobody inside can use are in nobody's way: another user's home that is a
// file system of its own. What cannot be watched is told.
func TestMountsThatCannotBeWatched(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	for _, c := range []struct {
		owner  string
		mode   os.FileMode
		seen   bool
		missed string
	}{{kit.Other, 0o700, false, ""}, {kit.Other, 0o711, true, ""}, {kit.Other, 0, false, ""}, {kit.User, 0, false, "which its owner may not read now"}} {
		owner, uid, gid := kit.Lookup(t, c.owner)
		place := filepath.Join(owner.HomeDir, "own-file-system")
		kit.Must(t, os.Mkdir(place, 0o755))
		kit.Command(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("uid=%d,gid=%d,mode=%o", uid, gid, c.mode), "none", place)
		kit.Must(t, os.WriteFile(filepath.Join(place, "file"), nil, 0o644))
		cmd, report := watchedRun(t, kit.User, dir, "cat "+place+"/file 2>/dev/null; true")
		r := kit.Do(t, cmd)
		kit.Command(t, "umount", place)
		kit.Must(t, os.Remove(place))
		text := strings.Join(report().Missed, "; ")
		if r.Code != 0 || !strings.Contains(text, c.missed) || c.missed == "" && text != "" || opens(report(), place+"/file") != c.seen {
			t.Errorf("%+v: %+v, %q, %+v", c, r, text, report().Files)
		}
	}
	// A directory that the command got open, as standard input.
	cmd, report := watchedRun(t, kit.User, dir, "cat /proc/self/fd/0/passwd >/dev/null")
	in, err := os.Open("/etc")
	kit.Must(t, err)
	defer in.Close()
	cmd.Stdin = in
	if r := kit.Do(t, cmd); r.Code != 0 || !strings.Contains(strings.Join(report().Missed, "; "), "the directory that is descriptor 0") {
		t.Errorf("%+v, %q", r, report().Missed)
	}
}

// A FUSE file system that never answers hangs nobody's record. That of another user,
// which nobody else can enter, is left out; one of the caller's own is told not to be
// watched.
func TestAFileSystemThatDoesNotAnswerIsNotWatched(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	for name, missed := range map[string]string{kit.Other: "", kit.User: "is not watched"} {
		u, uid, gid := kit.Lookup(t, name)
		place := filepath.Join(u.HomeDir, "no-answer")
		device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		kit.Must(t, errors.Join(err, os.Mkdir(place, 0o755)))
		kit.Must(t, unix.Mount("none", place, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", device, uid, gid)))
		cmd, report := watchedRun(t, kit.User, dir, "true")
		r := kit.Do(t, cmd)
		unix.Close(device)
		kit.Must(t, errors.Join(unix.Unmount(place, unix.MNT_DETACH), os.Remove(place)))
		if text := strings.Join(report().Missed, "; "); r.Code != 0 || !strings.Contains(text, missed) || missed == "" && text != "" {
			t.Errorf("of %s: %+v, %q", name, r, text)
		}
	}
}
