package reports

import "testing"

// serve listens on a socket and prints what it is sent; call sends a line.
const (
	serve = `perl -MIO::Socket::UNIX -e '
		$s = IO::Socket::UNIX->new(Local => "sock", Listen => 1) or die; open(F, ">", "ready");
		$c = $s->accept; print <$c>' & until [ -e ready ]; do sleep .05; done; `
	call = `perl -MIO::Socket::UNIX -e '
		$c = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!\n"; print $c "heard\n"' `
)

// A socket or a FIFO of the host that the caller may open is bound as a file is.
func TestSocketsAndPipesOfTheHost(t *testing.T) {
	hold(t, []report{
		{name: "a socket is connected to", source: "toolbox, bubblewrap: --bind of docker.sock, of a database",
			do:  serve + `(cd /home; $R --bind "$OLDPWD/sock:/run/served" $T -- ` + call + `/run/served); wait`,
			out: "heard\n"},
		{name: "a socket cannot be bound read-only", source: "docker: -v docker.sock:ro protects nothing",
			do:  serve + `(cd /home; $R --bind-ro "$OLDPWD/sock:/run/served" $T -- true); r=$?; kill $!; exit $r`,
			err: "bind it writable (--bind)", code: 125},
		{name: "a socket that is closed to the caller stays closed", source: "docker.sock: permission denied without the group",
			do:  serve + `chmod 0 sock; (cd /home; $R --bind "$OLDPWD/sock:/run/served" $T -- true); r=$?; kill $!; exit $r`,
			err: "permission denied", code: 125},
		{name: "a FIFO carries what is written inside", source: "podman: a named pipe as a volume",
			do:  `mkfifo pipe; (cd /home; $R --bind "$OLDPWD/pipe:/run/pipe" $T -- sh -c 'echo inside >/run/pipe') & cat pipe; wait`,
			out: "inside\n"},
		{name: "a FIFO carries what is read inside", source: "podman: a named pipe as a volume",
			do:  `mkfifo -m 0200 pipe; (echo outside >pipe) & chmod 0600 pipe; (cd /home; $R --bind "$OLDPWD/pipe:/run/pipe" $T -- cat /run/pipe); wait`,
			out: "outside\n"},
		{name: "a pipe without a name is no bind", source: "podman: --volume /dev/fd/63, of <(...)",
			do:  `cd /home; echo x | $R --bind /proc/self/fd/0:/run/x $T -- true`,
			err: "one of /proc, which is not followed", code: 125},
	})
}

// /run has what programs find there after a boot.
func TestTheDirectoriesOfRun(t *testing.T) {
	const look = `$T -- sh -c 'stat -c "%a %u %n" /run/user "$XDG_RUNTIME_DIR" /run/screen /run/sshd; echo "$XDG_RUNTIME_DIR"; echo x >"$XDG_RUNTIME_DIR/y"'`
	hold(t, []report{
		{name: "the user has a runtime directory", source: "distrobox, toolbox: XDG_RUNTIME_DIR is missing",
			do:  `cd /home; U=$(id -u); $R ` + look + ` | sed "s/$U/UID/g"`,
			out: "755 0 /run/user\n700 UID /run/user/UID\n1777 0 /run/screen\n755 0 /run/sshd\n/run/user/UID\n"},
		{name: "root inside has one", source: "podman: XDG_RUNTIME_DIR of another user",
			do:  `cd /home; export XDG_RUNTIME_DIR=/elsewhere; $R --root --env-all ` + look,
			out: "755 0 /run/user\n700 0 /run/user/0\n1777 0 /run/screen\n755 0 /run/sshd\n/run/user/0\n"},
		{name: "a bind may be in it", source: "flatpak: wayland-0 in XDG_RUNTIME_DIR",
			do:  `mkdir a; (cd /home; $R --bind "$OLDPWD/a:/run/user/$(id -u)/deep/a" $T -- sh -c 'echo x >$XDG_RUNTIME_DIR/deep/a/b; stat -c "%a %u" $XDG_RUNTIME_DIR | sed s/$(id -u)/UID/'); cat a/b`,
			out: "700 UID\nx\n"},
		{name: "what is asked for is set", source: "toolbox: --env of XDG_RUNTIME_DIR",
			do: `cd /home; $R --env XDG_RUNTIME_DIR=/tmp $T -- printenv XDG_RUNTIME_DIR`, out: "/tmp\n"},
	})
}

// A program inside uses the caller's agent and displays, when asked to.
func TestTheCallersSession(t *testing.T) {
	const socket = `perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' `
	hold(t, []report{
		{name: "the agent answers", source: "toolbox, distrobox, podman: ssh-agent inside a container",
			do: serve + `export SSH_AUTH_SOCK=$PWD/sock; (cd /home; $R --ssh-agent $T -- sh -c '` +
				`perl -MIO::Socket::UNIX -e "IO::Socket::UNIX->new(Peer => \$ENV{SSH_AUTH_SOCK})->print(qq(heard\n))"'); wait`,
			out: "heard\n"},
		{name: "no agent is said", source: "toolbox: SSH_AUTH_SOCK empty",
			do: `cd /home; unset SSH_AUTH_SOCK; $R --ssh-agent $T -- true`, err: "SSH_AUTH_SOCK is not set", code: 125},
		{name: "an agent that is gone is said", source: "tmux: stale SSH_AUTH_SOCK",
			do: `cd /home; SSH_AUTH_SOCK=/tmp/gone/agent $R --ssh-agent $T -- true`, err: "no such file", code: 125},
		{name: "an agent is not for another user", source: "sudo: SSH_AUTH_SOCK of the caller",
			do: `cd /home; SSH_AUTH_SOCK=/tmp/gone/agent $R --root --ssh-agent $T -- true`, err: "--root", code: 125},
		{name: "Wayland is there", source: "distrobox: WAYLAND_DISPLAY without its socket",
			do: `mkdir run; ` + socket + `run/wayland-7; unset DISPLAY; export WAYLAND_DISPLAY=wayland-7 XDG_RUNTIME_DIR=$PWD/run
				cd /home; $R --gui $T -- sh -c 'echo $WAYLAND_DISPLAY; test -S $XDG_RUNTIME_DIR/$WAYLAND_DISPLAY'`,
			out: "wayland-7\n"},
		{name: "X is there with its cookies", source: "x11docker, podman: Authorization required, but no authorization protocol specified",
			do: `mkdir -p -m 1777 /tmp/.X11-unix; n=$$; ` + socket + `/tmp/.X11-unix/X$n; echo cookie >cookies; unset WAYLAND_DISPLAY; D=:$n.0
				(cd /home; XAUTHORITY=$OLDPWD/cookies DISPLAY=$D $R --gui $T -- sh -c '
				test -S /tmp/.X11-unix/X'$n' && test "$DISPLAY" = '$D' && cat "$XAUTHORITY" && test $(hostname) = '$(hostname)); r=$?; rm /tmp/.X11-unix/X$n; exit $r`,
			out: "cookie\n"},
		{name: "no display is said", source: "podman: cannot open display",
			do: `cd /home; unset DISPLAY WAYLAND_DISPLAY; $R --gui $T -- true`, err: "neither WAYLAND_DISPLAY nor DISPLAY", code: 125},
		{name: "an odd display is said", source: "XQuartz: DISPLAY is a path",
			do: `cd /home; unset WAYLAND_DISPLAY; DISPLAY=/private/tmp/x $R --gui $T -- true`, err: "DISPLAY is", code: 125},
	})
}
