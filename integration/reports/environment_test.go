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

func TestTheShell(t *testing.T) {
	const show = `$T -- sh -c 'echo $SHELL'`
	const shell = `{ echo 'echo $SHELL'; echo exit; } | SHELL=/bin/zsh runtime shell $T`
	hold(t, []report{
		{name: "a shell that the image lacks is not named", source: "distrobox: SHELL=/bin/zsh in a container without zsh; vim, tmux and make fail",
			do: `cd /home; SHELL=/usr/bin/nosuchshell $R ` + show, out: "/bin/sh\n"},
		{name: "one that it has is", source: "control",
			do: `cd /home; SHELL=/bin/bash $R ` + show, out: "/bin/bash\n"},
		{name: "one on a bind is", source: "toolbox: SHELL from the home directory",
			do: `cd /home; SHELL=$HOME/bin/fish $R ` + show + ` | sed s,$HOME,home,`, out: "home/bin/fish\n"},
		{name: "what is asked for holds", source: "control",
			do: `cd /home; $R --env SHELL=/nosuch ` + show, out: "/nosuch\n"},
		{name: "runtime shell names what it executes", source: "distrobox: enter: SHELL is not the shell that runs",
			do: `cd /home; ` + shell + `; getent passwd $(id -un) | cut -d: -f7 | grep -c '^/bin/[bd]*a*sh$'`, out: "/bin/bash\n1\n"},
		{name: "root inside has root's", source: "podman: SHELL of the host's user for root",
			do: `cd /home; SHELL=/bin/zsh $R --root ` + show, out: "/bin/bash\n"},
	})
}

func TestLocalesAndTerminals(t *testing.T) {
	const locale = `$T -- sh -c 'echo $LANG $LC_TIME $LC_ALL'`
	const term = `$T -- sh -c 'echo $TERM'`
	hold(t, []report{
		{name: "a locale that the image lacks is C.UTF-8", source: "schroot: perl: warning: Setting locale failed",
			do: `cd /home; LANG=xx_YY.UTF-8 LC_TIME=C $R ` + locale, out: "C.UTF-8 C\n",
			err: "runtime: the image has no locale xx_YY.UTF-8: inside LANG is C.UTF-8\n"},
		{name: "there is one note", source: "docker: locale warnings",
			do: `cd /home; LANG=xx_YY.UTF-8 LC_ALL=xx_YY.UTF-8 $R ` + locale + ` 2>&1 | grep -c 'has no locale'`, out: "1\n"},
		{name: "one that it has stays", source: "control",
			do: `cd /home; LANG=C.utf8 $R ` + locale, out: "C.utf8\n"},
		{name: "what is asked for stays", source: "control",
			do: `cd /home; $R --env LANG=xx_YY.UTF-8 ` + locale, out: "xx_YY.UTF-8\n"},
		{name: "a terminal that the image does not know falls back", source: "kitty: 'xterm-kitty': unknown terminal type (in containers and over ssh)",
			do: `cd /home; TERM=xterm-nosuch $R ` + term + `; TERM=dumb $R ` + term, out: "xterm-256color\ndumb\n"},
		{name: "one that the home describes stays", source: "kitty: ~/.terminfo in toolbox",
			do:  `cd /home; mkdir -p ~/.terminfo/x; : >~/.terminfo/x/xterm-mine; TERM=xterm-mine $R ` + term + `; rm -r ~/.terminfo`,
			out: "xterm-mine\n"},
		{name: "exec's falls back too", source: "podman: exec: unknown terminal type",
			do:  beside + `TERM=xterm-nosuch x $n sh -c 'echo $TERM'; x --env TERM=xterm-nosuch $n sh -c 'echo $TERM'; end`,
			out: "xterm-256color\nxterm-nosuch\n"},
	})
}
