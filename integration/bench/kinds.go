package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// kinds times the kinds of launches by the user: of a version against bubblewrap with
// the same mounts, of a plain image against the floor, and the others against these.
func (b bench) kinds() {
	user := &syscall.Credential{Uid: id(b.uid), Gid: id(b.gid)}
	sealed := b.image + "-sealed"
	ours := func(name, image string, flags ...string) *contender {
		return &contender{name: name, args: slices.Concat([]string{binary, "run", "--chdir", "/"}, flags, []string{image, nothing}), as: user}
	}
	version := filepath.Join(store, sealed, "1")
	title("A version against bubblewrap with the same mounts, %d rounds", b.rounds)
	table(b.rounds, []*contender{{name: "bubblewrap", args: bubblewrap(version)}, ours("runtime run, version", sealed)})
	title("A plain image against the floor, %d rounds", b.rounds)
	table(b.rounds, []*contender{b.floor(), ours("runtime run, plain image", b.image)})

	running := exec.Command(binary, "run", "--name", "bench", "--chdir", "/", sealed, "sleep", "3600")
	running.Dir, running.SysProcAttr = "/", &syscall.SysProcAttr{Credential: user}
	if err := running.Start(); err != nil {
		panic(err)
	}
	time.Sleep(time.Second)
	title("exec against a launch of a version, %d rounds", b.rounds)
	table(b.rounds, []*contender{ours("runtime run, version", sealed), {name: "runtime exec", args: []string{binary, "exec", "bench", nothing}, as: user},
		{name: "chroot: the command alone", args: []string{"chroot", version, nothing}}})
	outputAs(user, binary, "kill", "--signal", "KILL", "bench")
	_ = running.Wait()

	title("Root inside and networks against a plain image, %d rounds", b.rounds)
	table(b.rounds, []*contender{ours("runtime run, plain image", b.image), ours("--root", b.image, "--root"), ours("--network none", b.image, "--network", "none")})
}

// bubblewrap is a launch of it, with the mounts of a run, on a root file system with
// mount points.
func bubblewrap(root string) []string {
	return []string{"bwrap", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run",
		"--ro-bind", "/etc/passwd", "/etc/passwd", "--ro-bind", "/etc/group", "/etc/group", "--ro-bind", "/opt", "/opt",
		"--bind", "/home", "/home", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--hostname", "x", nothing}
}
