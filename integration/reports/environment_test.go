package reports

import "testing"

func TestColours(t *testing.T) {
	rule(t, strict) // whose variables are those that are built in
	hold(t, []report{
		{name: "COLORTERM and NO_COLOR pass", source: "toolbox: COLORTERM is not set inside; no-color.org",
			do:  `cd /home; COLORTERM=truecolor NO_COLOR=1 $R $T -- sh -c 'echo $COLORTERM $NO_COLOR'`,
			out: "truecolor 1\n"},
	})
}

func TestWhoRootInsideIs(t *testing.T) {
	const show = `$T -- sh -c 'echo $SUDO_UID $SUDO_GID $SUDO_USER'`
	hold(t, []report{
		{name: "root inside knows who called", source: "git: detected dubious ownership in repository (root in a container, SUDO_UID)",
			do:  `cd /home; test "$($R --root ` + show + `)" = "$(id -u) $(id -g) $(id -un)" && echo same`,
			out: "same\n"},
		{name: "what is asked for holds", source: "control",
			do:  `cd /home; SUDO_GID=3 $R --root --env-all --env SUDO_UID=7 ` + show + ` | cut -d' ' -f1; SUDO_GID=3 $R --root --env SUDO_GID ` + show + ` | cut -d' ' -f2`,
			out: "7\n3\n"},
		{name: "others are not told", source: "control",
			do: `cd /home; $R ` + show, out: "\n"},
	})
}
