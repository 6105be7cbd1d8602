package reports

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// readOnly calls a command as a user who sees a directory of the host read-only.
func readOnly(t *testing.T, dir, user string, args ...string) kit.Result {
	t.Helper()
	as := kit.As(t, user, "true")
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"
		who=$1; shift; exec setpriv --reuid=$who --regid=$who --init-groups "$@"`, dir, user, kit.Runtime}, args...)...)
	cmd.Env, cmd.Dir = as.Env, "/home"
	return kit.Do(t, cmd)
}

// systemd: a service with ProtectSystem=strict, "Read-only file system".
func TestWhatWritesToAReadOnlyStoreSaysWhatToDo(t *testing.T) {
	const advice = "ReadWritePaths="
	for user, calls := range map[string][][]string{
		kit.User: {{"session", "begin", kit.Image}, {"run", "--writable", kit.Image, "--", "true"}},
		"root":   {{"image", "create", "new", "--from", kit.Image}, {"image", "import", "new", "/dev/null"}, {"image", "clone", kit.Sealed, "new"}, {"image", "remove", kit.Sealed}},
	} {
		for _, args := range calls {
			r := readOnly(t, kit.Store, user, args...)
			if r.Code != 125 || strings.Count(r.Err, advice+kit.Store) != 1 || strings.Count(r.Err, "\n") != 1 {
				t.Errorf("%q: %+v", args, r)
			}
		}
	}
	if r := readOnly(t, "/run", kit.User, "run", "--chdir", "/", kit.Image, "--", "true"); strings.Count(r.Err, advice) != 1 {
		t.Errorf("/run: %+v", r)
	}
}

func TestDoctorTellsOfReadOnlyPlaces(t *testing.T) {
	for dir, want := range map[string][2]string{
		"/run":    {"WRONG   /run ", "ReadWritePaths=/run/mayfly\n"},
		kit.Store: {"missing store's writing ", "ReadWritePaths=" + kit.Store + "\n"},
	} {
		r := readOnly(t, dir, kit.User, "doctor")
		if !strings.Contains(r.Out, want[0]) || !strings.Contains(r.Out, want[1]) {
			t.Errorf("%s: %+v", dir, r)
		}
	}
	if r := kit.Run(t, "doctor"); strings.Contains(r.Out, "ReadWritePaths") {
		t.Errorf("writable places: %+v", r)
	}
}

func TestDoctorSaysWhatARunSays(t *testing.T) {
	hold(t, []report{
		{name: "no_new_privs is not a matter of sysctl", source: "bubblewrap: no permissions to create new namespace",
			do: `cd /home; setpriv --no-new-privs runtime doctor | grep -A1 'without a grant' | tail -1 | sed 's/^ *//'`, out: "call it from where that is not so; in a unit, without what sets it\n"},
	})
	group := kit.As(t, kit.User, kit.Runtime, "doctor")
	group.Dir = "/home"
	who := group.SysProcAttr.Credential
	other := slices.IndexFunc(who.Groups, func(gid uint32) bool { return gid != who.Gid })
	if other < 0 {
		t.Fatalf("%s has one group only", kit.User)
	}
	who.Gid = who.Groups[other]
	if r := kit.Do(t, group); !strings.Contains(r.Out, "missing without a grant   your group is ") {
		t.Errorf("after newgrp: %+v", r)
	}
}

// sudo: "effective uid is not 0, is sudo on a file system with the 'nosuid' option
// set".
func TestAFileSystemWithoutGrantsIsToldOnce(t *testing.T) {
	const script = `mount -t tmpfs -o nosuid,mode=755 nosuid /mnt; cp -a "$0" /mnt/runtime
		for u in root $1; do setpriv --reuid=$u --regid=$u --init-groups /mnt/runtime grant --check 2>&1 >/dev/null | grep -o "mounted nosuid" | wc -l; done`
	r := kit.Do(t, exec.Command("unshare", "--mount", "sh", "-ec", script, kit.Runtime, kit.User))
	if r.Out != "1\n1\n" {
		t.Errorf("%+v", r)
	}
}

func TestWhatExcludesEachOtherIsSaidFirst(t *testing.T) {
	hold(t, []report{
		{name: "root and a user", source: "podman run: --user and --userns=keep-id",
			do: `cd /home; $R --root --user nobody-there $T -- true`, err: "runtime: --root and --user exclude each other", code: 125},
		{name: "root who is the caller and a user", source: "podman run: --user and --userns=keep-id",
			do: `cd /home; $R --root-as caller --user root $T -- true`, err: "runtime: --root and --user exclude each other", code: 125},
		{name: "a session that is not there, and what makes no sense with one", source: "toolbox: container not found",
			do: `cd /home; $R --session none --writable -- true`, err: "runtime: a session is writable", code: 125},
	})
}

func TestASocketIsWhatASessionIsSharedBy(t *testing.T) {
	const agent = `cd /home; touch "$OLDPWD/agent"; mkfifo "$OLDPWD/fifo"; `
	hold(t, []report{
		{name: "an agent is a socket", source: "distrobox: SSH_AUTH_SOCK is no socket",
			do: agent + `SSH_AUTH_SOCK=$OLDPWD/agent $R --ssh-agent $T -- true`, err: "SSH_AUTH_SOCK is to name a socket: ", code: 125},
		{name: "a FIFO is none", source: "distrobox: SSH_AUTH_SOCK is no socket",
			do: agent + `SSH_AUTH_SOCK=$OLDPWD/fifo $R --ssh-agent $T -- true`, err: "fifo is something else", code: 125},
		{name: "a display is a socket", source: "toolbox: WAYLAND_DISPLAY",
			do: agent + `WAYLAND_DISPLAY=$OLDPWD/agent $R --gui $T -- true`, err: "WAYLAND_DISPLAY is to name a socket: ", code: 125},
	})
}

func TestAFlagSaysWhatItWants(t *testing.T) {
	hold(t, []report{
		{name: "no descriptors are passed where none are asked for", source: "podman run: --preserve-fds, default 0",
			do: `cd /home; $R --preserve-fds 0 $T -- sh -c 'test ! -e /proc/self/fd/9 && echo none' 9</etc/passwd`, out: "none\n"},
		{name: "a mode of a tmpfs", source: "docker run: --tmpfs mode=9, invalid syntax",
			do: `cd /home; $R --tmpfs /x:mode=9 $T -- true`, err: `option "mode=9": want an octal mode, up to 7777`, code: 125},
	})
}

func TestEmptyArgumentsAreNamed(t *testing.T) {
	for _, c := range []struct {
		what string // is empty
		args []string
	}{
		{"container", []string{"kill", ""}}, {"container", []string{"kill", "a", "", "b"}}, {"container", []string{"exec", "", "x"}},
		{"container", []string{"wait", ""}}, {"container", []string{"inspect", ""}},
		{"image", []string{"run", "", "x"}},
		{"image", []string{"shell", ""}},
		{"session", []string{"session", "end", ""}}, {"image", []string{"session", "begin", ""}},
		{"file or directory", []string{"policy", "import", "/etc", ""}}, {"file", []string{"policy", "check", ""}},
		{"NAME", []string{"image", "remove", ""}}, {"image", []string{"image", "shell", "--keep", ""}},
		{"command", []string{"image", "shell", "--discard", kit.Sealed, "--", ""}},
	} {
		r := kit.Root(t, c.args...)
		if r.Code != 125 || !strings.HasPrefix(r.Err, "runtime: the "+c.what+" is empty") || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

// podman build, docker commit: a step that fails fails the script that calls it.
func TestACommandThatChangesAnImageTellsHowItEnded(t *testing.T) {
	for script, want := range map[string]int{"exit 3": 3, "kill -KILL $$": 137, "exit 0": 0} {
		r := kit.Root(t, "image", "shell", "--discard", kit.Sealed, "--", "sh", "-c", script)
		if r.Code != want {
			t.Errorf("--discard, %s: %+v, want %d", script, r, want)
		}
		if want == 0 {
			continue // which would make a version
		}
		if r := kit.Root(t, "image", "shell", "--keep", kit.Sealed, "--", "sh", "-c", script); r.Code != want || !strings.Contains(r.Err, "nothing is kept") {
			t.Errorf("--keep, %s: %+v, want %d", script, r, want)
		}
	}
}
