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
			err: "has no path", code: 125},
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
