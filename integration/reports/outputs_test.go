package reports

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

func TestOutputThatCannotBeWrittenIsTold(t *testing.T) {
	const full = "write standard output: no space left on device"
	hold(t, []report{
		{name: "with a limit", source: "GitLab runner: job log truncated, job succeeds",
			do: `cd /home; $R --output-limit 1M $T -- seq 1 10 >/dev/full`, code: 125, err: full},
		{name: "with a recording", source: "asciinema: rec ignores a full disk",
			do: `cd /home; $R --log /dev/null $T -- seq 1 10 >/dev/full`, code: 125, err: full},
		{name: "on standard error", source: "docker: logs lost on a full disk",
			do:   `cd /home; $R --log /dev/null $T -- sh -c 'echo x >&2' 2>/dev/full; echo $?`,
			code: 0, out: "125\n"},
		{name: "a reader that has gone ends the command as it does without us", source: "podman: run | head never ends",
			do: `cd /home; { $R --output-limit 100G $T -- yes; echo $? >&3; } 3>&1 | head -n 1; cat`, out: "y\n"},
	})
	kit.NothingLeft(t)
}

// What is written to a file system that fills up is as much as fits, and not a success.
func TestAFullDiskIsTold(t *testing.T) {
	dir := workspace(t)
	kit.Must(t, unix.Mount("t", dir, "tmpfs", 0, "size=64k,mode=1777"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, flags := range []string{"--output-limit 100M", "--log /dev/null"} {
		r := report{do: "cd /home; $R " + flags + " $T -- seq 1 14000 >" + dir + "/o"}.run(t, dir)
		info, err := os.Stat(filepath.Join(dir, "o"))
		kit.Must(t, err)
		const want = "runtime: write standard output: no space left on device\n"
		if r.Code != 125 || r.Err != want || info.Size() != 64<<10 {
			t.Errorf("%s: %+v, %d bytes; want %q", flags, r, info.Size(), want)
		}
	}
}

// A pager reads what it shows, which may be long after the command has ended.
func TestASlowReaderGetsAllOfIt(t *testing.T) {
	hold(t, []report{
		{name: "with a recording", source: "GitLab runner: the end of the job log is missing",
			do: `cd /home; $R --log /dev/null $T -- seq 1 40000 | { sleep 3; tail -n 1; }`, out: "40000\n"},
		{name: "and can be given up", source: "docker: run hangs when nobody reads its output",
			do: `mkfifo f; sleep 9 <f >/dev/null 2>&1 & $R --chdir / --log /dev/null $T -- seq 1 20000 >f & p=$!
				sleep 1; kill $p; wait $p`, code: 143, err: "interrupted by SIGTERM"},
	})
}

func TestEveryCommandTellsThatItCouldNotPrint(t *testing.T) {
	for _, line := range []string{
		"version", "--help", "run --help", "image --help", "completion bash", "completion words runtime r", "policy default", "policy check",
		"policy explain $T", "run --dry-run $T true", "image list", "image list --names", "image list --json", "store status", "store status --json",
		"doctor", "doctor --json", "session list",
		"session list --json", "ps", "ps --watch", "grant --check",
	} {
		hold(t, []report{{name: line, source: "coreutils: close_stdout", code: 125,
			do: "runtime " + line + " >/dev/full", err: "runtime: write standard output: no space left on device\n"}})
	}
}

// A machine has many users, and each that has ever run something left a directory.
func TestNothingIsLeftOfWhoRanSomething(t *testing.T) {
	hold(t, []report{
		{name: "after a run", source: "podman: /run/user-like directories stay for ever",
			do: `$R --chdir / $T -- true; ls /run/mayfly | grep -x "$(id -u)"`, code: 1},
		{name: "after a refusal", source: "podman: /run/user-like directories stay for ever",
			do: `$R --chdir / --bind /nosuch:/mnt $T -- true 2>/dev/null; ls /run/mayfly | grep -x "$(id -u)"`, code: 1},
		{name: "after a session", source: "schroot: sessions leave directories",
			do: `runtime session begin --name left $T && runtime session end left; ls /run/mayfly | grep -x "$(id -u)"`, code: 1, out: "left\nsession left is removed\n"},
	})
	old := "/run/mayfly/4000000000"
	kit.Must(t, os.Mkdir(old, 0o700))
	kit.Succeed(t, "gc")
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("gc leaves %s: %v", old, err)
	}
}
