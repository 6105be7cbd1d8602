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

// What a shell has open beside standard input, output and error, it has open for as long as
// the program runs: a lock of flock(1), the end of a pipe that somebody reads.

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
