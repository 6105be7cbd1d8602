package reports

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestTheWorkingDirectory(t *testing.T) {
	hold(t, []report{
		{name: "a command works where it is called", source: "apptainer: current directory not mounted, falls back to home",
			do:  `mkdir build; touch build/a; $R $T -- rm -rf build; ls; $R $T -- pwd | sed "s|$PWD|here|"; $R $T -- touch made; ls`,
			out: "here\nmade\n"},
		{name: "a sealed image too, which has no such directory", source: "singularity: underlay for missing mount points",
			do: `$R "${T%-sealed}-sealed" -- touch made; ls`, out: "made\n"},
		{name: "in a private tmp", source: "apptainer: working directory in /tmp with a private /tmp",
			do:  `d=$(mktemp -d); cd $d; $R $T -- sh -c 'touch made; ls -A /tmp | wc -l'; ls; cd /; rm -r $d`,
			out: "1\nmade\n"},
		{name: "where the image has a directory of that name", source: "toolbox: host's /usr/src hidden by the image's",
			do:  `cd /var/tmp && mkdir -p w-$$ && cd w-$$ && $R $T -- sh -c 'cd .. && ls -d w-*' | sed s/$$/N/; rmdir $PWD`,
			out: "w-N\n"},
		{name: "in the root directory", source: "systemd: units begin in /", do: `cd /; $R $T -- pwd`, out: "/\n"},
		{name: "by another name of it", source: "podman: working directory below a symbolic link",
			do: `ln -s . link; cd link; $R $T -- sh -c 'touch made; pwd -P' | sed "s|${PWD%/link}|here|"; ls`, out: "here\nlink\nmade\n"},
		{name: "by the place where a bind has it", source: "bubblewrap: --chdir to the bind of the current directory",
			do: `mkdir in; cd in; $R --bind "${PWD%/in}:/mnt" $T -- pwd`, out: "/mnt/in\n"},
		{name: "not over what the image has", source: "apptainer: current directory /usr hides the container's", do: `cd /usr/bin; $R $T -- true`,
			err: "one of the system's", code: 125},
		{name: "not over what the image has, wherever that is", source: "apptainer: current directory hides the container's",
			do: `cd /var/cache; $R $T -- true`, err: "would hide what the image has", code: 125},
		{name: "one that was removed", source: "runc: getcwd: no such file or directory",
			do: `mkdir gone; cd gone; rmdir ../gone; $R $T -- true`, err: "has been removed", code: 125},
		{name: "one with a path that is too long", source: "runc: cwd longer than PATH_MAX",
			do: `d=$(printf %0200d 0); i=0; while [ $i -lt 22 ]; do mkdir $d; cd -P $d; i=$((i+1)); done
$R $T -- true; $R --chdir /tmp $T -- pwd`, out: "/tmp\n", err: "longer than 4095 bytes"},
		{name: "one in a file system of the kernel's", source: "nspawn: current directory in /sys", do: `cd /sys/kernel; $R $T -- true`,
			err: "which is the container's own", code: 125},
		{name: "one that the caller may not read", source: "sudo: current directory of another user",
			do: `chmod 0300 .; $R $T -- true; echo $?; chmod 0700 .`, out: "125\n", err: "permission denied"},
		{name: "with root inside", source: "podman: files of the build are the user's", do: `$R --root $T -- sh -c 'pwd; id -u' | sed "s|$PWD|here|"`,
			out: "here\n0\n"},
		{name: "hidden by a mount of the caller's", source: "bubblewrap: --tmpfs over the current directory",
			do: `mkdir in; cd in; $R --tmpfs "${PWD%/in}" --bind "$PWD:/mnt" $T -- pwd`, out: "/mnt\n"},
	})
}

// A rule without binds that callers choose: the build server that Mayfly was made for.
const strict = `
[[rule]]
images = ["*"]
`

func TestAWorkingDirectoryThatThePolicyDoesNotBind(t *testing.T) {
	rule(t, strict)
	hold(t, []report{
		{name: "a command is refused", source: "nspawn wrappers: falls back to the home", do: `touch a; $R --quiet $T -- rm a; ls`, out: "a\n",
			err: "does not allow its bind"},
		{name: "whoever says where may", source: "nspawn: --chdir", do: `$R --chdir /tmp $T -- pwd`, out: "/tmp\n"},
		{name: "a home is inside", source: "schroot: preserve the directory", do: `cd; $R $T -- pwd | sed "s|$HOME|~|"`, out: "~\n"},
		{name: "nspawn-run refuses too", source: "nspawn wrappers", do: `"${R%/*}/nspawn-run" -n $T true 2>&1 | grep -c -- --chdir`, out: "1\n"},
	})
}

func TestALoginShellStartsInTheHomeAndSaysSo(t *testing.T) {
	rule(t, strict)
	cmd := kit.As(t, kit.User, kit.Runtime, "shell", "--quiet", kit.Image)
	cmd.Dir, cmd.Stdin = workspace(t), strings.NewReader("pwd\n")
	if r := kit.Do(t, cmd); r.Out != "/home/"+kit.User+"\n" || !strings.Contains(r.Err, "starting in") {
		t.Errorf("%+v", r)
	}
}

func TestTheHome(t *testing.T) {
	u, uid, gid := kit.Lookup(t, kit.User)
	elsewhere, err := os.MkdirTemp("/var/lib", "ci-")
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, os.RemoveAll(elsewhere)) })
	kit.Must(t, os.Chown(elsewhere, int(uid), int(gid)))
	link := filepath.Join(filepath.Dir(u.HomeDir), filepath.Base(elsewhere))
	kit.Must(t, os.Symlink(elsewhere, link))
	t.Cleanup(func() { kit.Must(t, os.Remove(link)) })
	hold(t, []report{
		{name: "one that is elsewhere is brought", source: "jenkins: HOME is not writable in the container",
			do: `export HOME=` + elsewhere + `; $R $T -- sh -c 'touch "$HOME/a"'; ls $HOME`, out: "a\n"},
		{name: "one that is a link out of /home", source: "distrobox: home is a symbolic link to /data",
			do: `export HOME=` + link + `; cd; $R $T -- sh -c 'touch ~/b; touch c'; ls ` + elsewhere, out: "a\nb\nc\n"},
		{name: "one that is nowhere", source: "toolbox: HOME=/nonexistent", do: `HOME=/nonexistent $R $T -- sh -c 'echo $HOME; touch ~/x'`,
			out: "/tmp\n", err: "is not in the container, HOME is /tmp"},
		{name: "in a directory of the system", source: "useradd: daemons have /bin and /usr/sbin for a home", do: `cd /; HOME=/usr/sbin $R $T -- sh -c 'echo $HOME'`,
			out: "/usr/sbin\n"},
		{name: "in a directory of the container's", source: "apptainer: HOME=/tmp", do: `cd /; touch /tmp/of-the-host; HOME=/tmp $R $T -- sh -c 'echo $HOME; ls -A /tmp'; rm /tmp/of-the-host`,
			out: "/tmp\n"},
		{name: "quietly", source: "cron: HOME=/nonexistent", do: `HOME=/nonexistent $R --quiet $T -- sh -c 'echo $HOME'`, out: "/tmp\n"},
		{name: "the caller's own word counts", source: "docker: -e HOME", do: `HOME=/nonexistent $R --env HOME=/x $T -- sh -c 'echo $HOME'`, out: "/x\n"},
	})
}

// Root may bind everything, and an image that root runs is not to have the host for
// that.
func TestNothingOfTheSystemIsBoundForRoot(t *testing.T) {
	for _, dir := range []string{"/etc", "/etc/mayfly", "/root", "/boot", "/usr", "/var", "/var/lib", "/run", "/run/mayfly", kit.Store} {
		cmd := exec.Command(kit.Runtime, "run", kit.Image, "--", "true")
		cmd.Dir = dir
		if r := kit.Do(t, cmd); r.Code != 125 || !strings.Contains(r.Err, "--bind") || !strings.Contains(r.Err, "--chdir") {
			t.Errorf("%s: %+v", dir, r)
		}
	}
}

// Another user than root gets nothing that is root's.
func TestRootsWorkingDirectoryIsNotForOthers(t *testing.T) {
	cmd := exec.Command(kit.Runtime, "run", "--user", kit.User, kit.Image, "--", "pwd")
	cmd.Dir = workspace(t)
	if r := kit.Do(t, cmd); r.Code != 125 || !strings.Contains(r.Err, "another user than you") {
		t.Errorf("%+v", r)
	}
}

// A command that joins a container is not run elsewhere, and says why.
func TestAWorkingDirectoryThatIsReplaced(t *testing.T) {
	const begins = `d=$HOME/replaced; mkdir $d; cd $d; trap "rmdir $d" EXIT; N="${R% run}"
		$R --name replaced $T -- sleep 600 & until $N exec replaced true 2>/dev/null; do sleep .05; done
		rmdir $d; `
	const ends = `; code=$?; $N exec --chdir $d replaced pwd; $N kill --signal KILL replaced; wait; exit $code`
	hold(t, []report{
		{name: "one that is made again is said", source: "docker exec: OCI runtime exec failed, current working directory is outside of container mount namespace root",
			do:  begins + `mkdir $d; $N exec replaced pwd` + ends,
			out: "/home/mayfly-test/replaced\n", err: "replaced since: --chdir DIR runs the command in another, and --chdir /home/mayfly-test/replaced in what has that name now", code: 125},
		{name: "one that is removed is said", source: "docker exec: chdir to cwd: no such file or directory",
			do:  begins + `$N exec replaced pwd; code=$?; mkdir $d; (exit $code)` + ends,
			out: "/home/mayfly-test/replaced\n", err: "the directory in which the container began has been removed or replaced", code: 125},
	})
}
