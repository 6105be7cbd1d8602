package reports

import (
	"testing"

	"mayfly/integration/kit"
)

const (
	// job runs until it is told that it is over, and asks says whether the lock is held
	// meanwhile, and whether it is afterwards.
	job  = `-- sh -c 'touch running; until [ -e over ]; do sleep .05; done'`
	asks = `
		asks() { if flock -n lk true; then echo free; else echo held; fi; }
		until [ -e running ]; do sleep .05; done; asks; touch over; wait; asks`
)

// What a shell has open beside standard input, output and error, it has open for as
// long as the program runs: a lock of flock(1), the end of a pipe that somebody reads.

func TestWhatIsOpenStaysOpen(t *testing.T) {
	hold(t, []report{
		{name: "a lock is held while the command runs", source: "util-linux: flock held by a wrapper that runs a container",
			do:  `(flock -n 9; $R --bind . $T ` + job + `) 9>lk &` + asks,
			out: "held\nfree\n"},
		{name: "a lock is held while a container is waited for", source: "cron: flock -n and docker wait",
			do: `$R --name locked --bind . $T ` + job + ` & until [ -e running ]; do sleep .05; done
				(flock -n 9; touch waits; exec ${R% run} wait locked) 9>lk &
				until [ -e waits ]; do sleep .05; done; sleep .3` + asks,
			out: "held\nfree\n"},
		{name: "a reader of a pipe waits for the end", source: "bubblewrap: --sync-fd, to keep a descriptor open while the sandbox runs",
			do:  `cd /home; { { $R $T -- sh -c 'sleep .5; echo inside'; } 5>&1 >&6 | { cat; echo end; }; } 6>&1`,
			out: "inside\nend\n"},
		{name: "nothing inside has them", source: "runc: leaked file descriptors (CVE-2024-21626)",
			do:  `cd /home; $R $T -- sh -c 'ls /proc/self/fd; readlink /proc/*/fd/27' 3</ 9</etc/hostname 27</etc/passwd`,
			out: "0\n1\n2\n3\n", code: 1},
		{name: "of too many it is said", source: "runc: too many open files",
			do:  `cd /home; ulimit -n 64; exec 3</ 4</ 5</ 6</ 7</ 8</ 9</; exec bash -c 'for i in {10..63}; do eval "exec $i</"; done; exec $R $T -- true'`,
			err: "ulimit -Hn", code: 125},
	})
}

func TestWhatIsOpenStaysOpenWithoutAGrant(t *testing.T) {
	kit.OwnImage(t, kit.User)
	t.Cleanup(func() { kit.RemoveOwnImages(kit.User) })
	hold(t, []report{
		{name: "a lock is held without a grant", source: "podman run: loses flock descriptor",
			do:  `(flock -n 9; $R --quiet --unprivileged --bind . $T ` + job + `) 9>lk &` + asks,
			out: "held\nfree\n"},
	})
}

// What is open is passed to the command when asked for, or when a variable tells of it.
func TestDescriptorsThatArePassed(t *testing.T) {
	hold(t, []report{
		{name: "as many as asked for", source: "podman run: --preserve-fds",
			do: `cd /home; exec 3<<A 4>"$OLDPWD/four" 5</etc/passwd
three
A
				$R --preserve-fds 2 $T -- sh -c 'cat <&3; echo written >&4; ls /proc/self/fd'; cat "$OLDPWD/four"`,
			out: "three\n0\n1\n2\n3\n4\n5\nwritten\n"},
		{name: "root inside gets them", source: "podman run: --preserve-fds",
			do:  `cd /home; echo three >"$OLDPWD/f"; $R --root --preserve-fds 1 $T -- cat /proc/self/fd/3 3<"$OLDPWD/f"`,
			out: "three\n"},
		{name: "one that is not open is said", source: "podman run: --preserve-fds, fd is not available",
			do: `cd /home; $R --preserve-fds 2 $T -- true 3</etc/passwd 4<&-`, err: "descriptor 4 is not open", code: 125},
		{name: "no directory is passed", source: "runc: CVE-2024-21626",
			do: `cd /home; $R --preserve-fds 1 $T -- true 3</`, err: "descriptor 3 is a directory", code: 125},
		{name: "no file of the kernel's is passed", source: "runc: /proc of the host by a descriptor",
			do: `cd /home; $R --preserve-fds 1 $T -- true 3</proc/self/environ`, err: "descriptor 3 is a file of the kernel's", code: 125},
		{name: "no file of an overlay of the caller's is passed", source: "overlayfs: close(2) of a file asks the file system below, FUSE too",
			do: `mkdir l m n; echo x >l/f; unshare --user --map-root-user --mount sh -c 'mount -t overlay o -o lowerdir=l:n m && touch ready && exec sleep 60' &
				until [ -e ready ]; do sleep .05; done
				exec 3<"/proc/$!/root$PWD/m/f"; kill $!; cd /home; $R --preserve-fds 1 $T -- cat /proc/self/fd/3`,
			err: "may wait for somebody to let it be closed", code: 125},
		{name: "an odd number is refused", source: "podman run: --preserve-fds -1",
			do: `cd /home; $R --preserve-fds -1 $T -- true`, err: `--preserve-fds "-1"`, code: 125},
		{name: "who joins has none of them", source: "docker exec: leaked descriptors",
			do: `cd /home; mkfifo "$OLDPWD/p"; exec 8<>"$OLDPWD/p"
				$R --name passed --preserve-fds 1 $T -- sh -c 'read x <&3; echo $x' 3<"$OLDPWD/p" &
				until ${R% run} exec passed true 2>/dev/null; do sleep .05; done
				${R% run} exec passed ls /proc/self/fd; echo x >&8; wait`,
			out: "0\n1\n2\n3\nx\n"},
	})
}

// A make that is called inside takes part in the jobserver of the one outside.
func TestTheJobserverOfMake(t *testing.T) {
	hold(t, []report{
		{name: "jobs run beside each other", source: "docker run: make jobserver unavailable, using -j1",
			do: `cat >inner <<'A'
all: a b c d
a b c d:
	@echo b >>log; sleep .5; echo e >>log
A
				printf 'all:\n\t+@%s --env MAKEFLAGS --bind . %s -- make -s -f inner\n' "$R" "$T" >Makefile
				make -s -j4 && head -n 4 log`,
			out: "b\nb\nb\nb\n"},
		{name: "without MAKEFLAGS nothing is passed", source: "make: leaked jobserver descriptors",
			do:  `printf 'all:\n\t+@cd /home; %s %s -- ls /proc/self/fd\n' "$R" "$T" >Makefile; make -s -j4`,
			out: "0\n1\n2\n3\n"},
		{name: "a FIFO of make 4.4 is used", source: "make 4.4: --jobserver-auth=fifo:PATH in a container",
			do: `mkfifo js; exec 7<>js; printf ++ >&7; export MAKEFLAGS=" -j3 --jobserver-auth=fifo:$PWD/js -- V=1"; cat >inner <<'A'
all: a b c
a b c:
	@echo b >>log; sleep .5; echo e >>log
A
				$R --env MAKEFLAGS --bind . $T -- make -s -f inner && head -n 3 log`,
			out: "b\nb\nb\n"},
		{name: "a jobserver that is gone is make's to tell", source: "make: jobserver unavailable, add + to parent make rule",
			do:  `cd /home; MAKEFLAGS="-j --jobserver-auth=98,99" $R --env MAKEFLAGS $T -- printenv MAKEFLAGS`,
			out: "-j --jobserver-auth=98,99\n"},
	})
}

// A service manager hands over sockets that it listens on.
func TestSocketsThatAreHandedOver(t *testing.T) {
	const tell = `sh -c 'echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && ls -l /proc/self/fd/3 | grep -c socket'`
	const hand = `perl -MIO::Socket::UNIX -MFcntl -e '$^F = 9; $s = IO::Socket::UNIX->new(Local => "sock", Listen => 1) or die;
		fileno($s) == 3 or die; $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; $ENV{LISTEN_FDNAMES} = "web"; chdir "/home"; exec @ARGV' `
	hold(t, []report{
		{name: "sockets are for the command", source: "podman: socket activation, LISTEN_FDS",
			do: hand + `$R $T -- ` + tell, out: "1 web\n1\n"},
		{name: "sockets are for root inside", source: "podman: socket activation, LISTEN_FDS",
			do: hand + `$R --root $T -- ` + tell, out: "1 web\n1\n"},
		{name: "sockets are for a script without an interpreter", source: "systemd: LISTEN_PID of a wrapper",
			do:  `printf 'echo $LISTEN_FDS; test $LISTEN_PID = $$ && echo mine\n' >script; chmod +x script; ` + hand + `$R --bind "$PWD" $T -- "$PWD/script"`,
			out: "1\nmine\n"},
		{name: "sockets for another process are not", source: "systemd: stale LISTEN_PID",
			do:  `cd /home; export LISTEN_PID=1 LISTEN_FDS=1; $R $T -- sh -c 'echo "[$LISTEN_FDS]"; ls /proc/self/fd' 3</etc/passwd`,
			out: "[]\n0\n1\n2\n3\n"},
	})
}
