package reports

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// textFlags are the flags of run whose value is a text, numberFlags those of a bound.
const (
	textFlags = "bind bind-ro chdir env hostname log memory name network output-limit personality publish" +
		" session stats status store swap tmpfs user env-file volume workdir"
	numberFlags = "cpus cpu-weight io-weight tasks timeout"
)

func TestWhatIsEmptyIsNotTakenForNotGiven(t *testing.T) {
	hold(t, []report{
		{name: "an unset variable is no flag left out", source: "docker: --user with an empty variable runs as root",
			do: `$R --user "$NOBODY" $T -- id -u`, code: 125, err: `--user "": want USER; leave the flag out`},
		{name: "it is told for each flag", source: "podman: an empty --network, --memory is ignored",
			do:  `for f in ` + textFlags + `; do $R --$f "" $T true 2>&1 | grep -o "^runtime: --$f \"\": want [A-Z]" >>said; done; wc -l <said`,
			out: count(textFlags)},
		{name: "a bound of 0 bounds nothing", source: "docker: --cpus 0 and --pids-limit 0 are no limit",
			do:  `for f in ` + numberFlags + `; do $R --$f 0 $T true 2>&1 | grep -o "^runtime: --$f \"0\": want more than 0" >>said; done; wc -l <said`,
			out: count(numberFlags)},
		{name: "other commands take no empty value", source: "docker: an empty argument is left out",
			do: `c() { runtime "$@" 2>&1 | cut -d ':' -f 2; }
				c kill --signal '' x; c session begin --name '' $T; c exec --chdir '' x true; c log --since ''
				c policy explain --user '' $T; c policy check ''; c image list --store ''; c gc --store ''`,
			out: strings.Join([]string{` --signal ""`, ` --name ""`, ` --chdir ""`, ` --since ""`, ` --user ""`, ` the file is empty`,
				` --store ""`, ` --store ""`, ""}, "\n")},
		{name: "a variable can be empty", source: "podman: --env X= takes the value of the host",
			do: `cd /home; X=set $R --env X= $T -- sh -c 'echo "${X-unset}"'`, out: "\n"},
	})
}

// count is how many words a list has, as wc(1) prints it.
func count(words string) string { return fmt.Sprintln(len(strings.Fields(words))) }

func TestARecipeHasNoEmptyNames(t *testing.T) {
	for text, want := range map[string]string{
		"from = \"\"\nsuite = \"bookworm\"\n":      "from is empty",
		"suite = \"bookworm\"\ninclude = [\"\"]\n": "include is empty",
	} {
		recipe := workspace(t) + "/image.toml"
		kit.Command(t, "sh", "-c", "printf %s '"+text+"' >"+recipe)
		if r := kit.Root(t, "image", "create", "empty-names", recipe); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%q: %+v, want %q", text, r, want)
		}
	}
}

func TestAMountIsNotHiddenByAnother(t *testing.T) {
	hold(t, []report{
		{name: "what is in a bind is mounted after it", source: "systemd-nspawn: nested --bind order",
			do:  `mkdir -p a b/in; echo inner >a/f; $R --chdir / --bind a:/mnt/in --bind b:/mnt $T -- cat /mnt/in/f`,
			out: "inner\n"},
		{name: "file systems in memory too", source: "podman: --tmpfs hidden by --volume",
			do: `mkdir -p b/in; $R --chdir / --tmpfs /mnt/in:size=1M --bind b:/mnt $T -- sh -c 'echo x >/mnt/in/f'; ls b/in`},
		{name: "one that cannot be there is an error", source: "podman: --tmpfs hidden by --volume",
			do: `mkdir b; $R --chdir / --tmpfs /mnt/in --bind b:/mnt $T true; e=$?; ls b; exit $e`, code: 125, err: `mount point "/mnt/in"`},
		{name: "two on one place are a mistake", source: "docker: duplicate mount point",
			do: `$R --chdir / --tmpfs /mnt:ro --tmpfs /mnt $T true`, code: 125, err: "two mounts on /mnt"},
	})
}

func TestWhatATmpfsCannotHaveIsAMistake(t *testing.T) {
	for option, want := range map[string]string{
		"size=18446744073709551616": "want a number", "size=16777216T": "want a number", "bogus": "want size=64M",
		"suid": "always nosuid and nodev", "dev": "always nosuid and nodev", "": "want size=64M",
	} {
		hold(t, []report{{name: "option " + option, source: "docker: --tmpfs size overflows", code: 125,
			do: "$R --chdir / --tmpfs /mnt:" + option + " $T true", err: `--tmpfs "/mnt:` + option + `": option "` + option + `": `},
			{name: "option " + option, source: "docker: --tmpfs size overflows", code: 125, do: "$R --tmpfs /mnt:" + option + " $T true", err: want}})
	}
}

func TestThePersonalityIsNotTheCallers(t *testing.T) {
	hold(t, []report{
		{name: "nor what uname tells", source: "schroot: setarch i386 schroot tells i686 in a chroot for amd64",
			do: `setarch i686 $R --chdir / --personality x86-64 $T -- uname -m`, out: "x86_64\n"},
		{name: "the image's is", source: "mock: setarch is not undone", do: `setarch x86_64 $R --chdir / $T -- uname -m`, out: kit.Machine + "\n"},
		{name: "nor its flags", source: "podman: setarch -R is inherited",
			do: `setarch -R -X -B $R --chdir / --personality x86 $T -- cat /proc/self/personality`, out: "00000008\n"},
	})
	// The kernel takes the flags away from who gets capabilities of the file.
	const asRoot = "cd /; exec setarch i686 -R -X -B runtime run --personality x86-64 "
	if r := kit.Do(t, exec.Command("sh", "-c", asRoot+kit.Image+" -- cat /proc/self/personality")); r.Out != "00000000\n" {
		t.Errorf("by root: %+v", r)
	}
}

func TestAnotherGroupIsTold(t *testing.T) {
	const try = `runtime image list --unprivileged --names; echo $?`
	hold(t, []report{
		{name: "subordinate ids want the user's own group", source: "podman: newuidmap: Target process is owned by a different user",
			do:  "sg " + kit.Group + " -c '" + try + "' 2>said; wc -l <said; cut -d , -f 1 said",
			out: "125\n1\nruntime: your group is " + kit.Group + " now\n"},
		{name: "and have it again", source: "podman: newuidmap: Target process is owned by a different user",
			do: "cd /; sg " + kit.Group + " -c 'sg " + kit.User + ` -c "` + try + `"'`, out: "0\n"},
	})
}
