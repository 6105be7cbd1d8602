package reports

import "testing"

// beside starts a container in the background and defines x, which runs a command in
// it.
const beside = `cd /home; n=names-$$; $R --name $n --env P=$(printf 'p\351') $T -- sh -c 'exec sleep 60' "$(printf 'q\351')" &
	x() { runtime exec "$@"; }; until x $n true 2>/dev/null; do sleep .1; done
	end() { runtime kill --signal KILL $n; wait; }
`

func TestBytesThatAreNotUTF8(t *testing.T) {
	hold(t, []report{
		{name: "exec's arguments are bytes", source: "docker: exec replaces invalid UTF-8 in arguments (JSON over the socket)",
			do:  beside + `x $n -- printf %s "$(printf 'caf\351')" | od -An -tx1; end`,
			out: " 63 61 66 e9\n"},
		{name: "exec's environment is bytes", source: "podman: exec --env with Latin-1 value",
			do:  beside + `x --env V=$(printf '\377\200') $n -- sh -c 'printf %s "$P$V"' | od -An -tx1; end`,
			out: " 70 e9 ff 80\n"},
		{name: "exec's directory is bytes", source: "docker: exec --workdir with a name that is not UTF-8",
			do:  beside + `x $n mkdir "$(printf '/tmp/d\351')"; x --chdir "$(printf '/tmp/d\351')" $n pwd | od -An -tx1; end`,
			out: " 2f 74 6d 70 2f 64 e9 0a\n"},
		{name: "exec's error names the bytes", source: "runc: error messages with replacement characters",
			do: beside + `x $n "$(printf '/d\351')"; s=$?; end; exit $s`, code: 127, err: `runtime: /d\xe9: not found in the container`},
		{name: "ps, inspect and dry-run lose no byte in JSON", source: "podman: inspect shows U+FFFD for invalid UTF-8 in Env and Cmd",
			do: beside + `runtime ps --json | grep -c '"q.udbfd.udfe9"'; runtime inspect $n | grep -c '"P=p.udbfd.udfe9"'
				$R --dry-run $T -- echo "$(printf '\351')" | grep -c '"\\udbfd\\udfe9"'; end`,
			out: "1\n1\n1\n"},
		{name: "ps shows the byte", source: "podman: ps prints U+FFFD in the command",
			do: beside + `runtime ps | grep -c 'q.xe9'; end`, out: "1\n"},
	})
}

func TestWhatAProgramIsMissing(t *testing.T) {
	const at126 = `; s=$?; rm -rf "$d"; exit $s`
	const dir = `d=$(mktemp -d ~/names-XXXXXX); cd $d; `
	hold(t, []report{
		{name: "a missing interpreter is named", source: "docker: exec user process caused: no such file or directory (python2)",
			do: dir + `printf '#!/usr/bin/python2\n' >x; chmod +x x; $R $T -- ./x` + at126, code: 126,
			err: "runtime: ./x: its interpreter /usr/bin/python2 is not in the container\n"},
		{name: "line ends of DOS are told", source: "docker: exec: no such file or directory, entrypoint.sh with CRLF",
			do: dir + `printf '#!/bin/sh\r\n' >x; chmod +x x; $R $T -- $d/x` + at126, code: 126,
			err: `its interpreter "/bin/sh\r" is not in the container: its lines end with CR LF`},
		{name: "a missing dynamic loader is named", source: "docker: exec: no such file or directory for a glibc binary on alpine",
			do: dir + `$R --bind . $T -- sh -c 'sed s,/lib/ld-linux.so,/lib/no-linux.so, /bin/true >x'; chmod +x x; $R $T -- ./x` + at126, code: 126,
			err: "runtime: ./x: its dynamic loader /lib/no-linux.so.2 is not in the container\n"},
		{name: "exec names it too", source: "podman: exec: no such file or directory",
			do: beside + `x $n -- sh -c 'printf "#!/nosuch\n" >/tmp/x; chmod +x /tmp/x'; x $n /tmp/x; s=$?; end; exit $s`, code: 126,
			err: "runtime: /tmp/x: its interpreter /nosuch is not in the container\n"},
		{name: "root inside is told too", source: "podman: no such file or directory in a rootless container",
			do: dir + `printf '#!/nosuch/y\n' >x; chmod +x x; chmod 755 .; $R --root $T -- ./x` + at126, code: 126,
			err: "runtime: ./x: its interpreter /nosuch/y is not in the container\n"},
	})
}
