// Package load runs many containers at once, and one for long, and looks for what adds
// up.
package load

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// callers are who starts containers; "" is root.
var callers = []string{kit.User, kit.Other, ""}

func call(t *testing.T, caller string, args ...string) *exec.Cmd {
	if caller == "" {
		return exec.Command(kit.Runtime, args...)
	}
	return kit.As(t, caller, append([]string{kit.Runtime}, args...)...)
}

// together starts n programs, so many at a time, and returns how long that took. What
// fails is an error of the test.
func together(t *testing.T, n, atATime int, command func(i int) *exec.Cmd) time.Duration {
	t.Helper()
	begun := time.Now()
	var group sync.WaitGroup
	turns := places(atATime)
	for i := range n {
		<-turns
		group.Go(func() {
			defer func() { turns <- struct{}{} }()
			cmd := command(i)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v: %.300s", cmd.Args, err, out)
			}
		})
	}
	group.Wait()
	return time.Since(begun)
}

func places(n int) chan struct{} {
	c := make(chan struct{}, n)
	for range n {
		c <- struct{}{}
	}
	return c
}

func mounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Of a sealed image no copy is made, which is what such an image is for; systemd-nspawn
// makes one of the same content for each container. The plain image, of which both make
// a copy, is told beside that.
func TestManyShortContainersAndNspawn(t *testing.T) {
	const atATime = 20
	ours, theirs := kit.Rounds(200, 500), max(kit.Times(60), atATime)
	before := mounts(t)
	perSecond := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	runs := func(image string) float64 {
		took := together(t, ours, atATime, func(i int) *exec.Cmd {
			return call(t, callers[i%len(callers)], "run", "--quiet", "--chdir", "/", image, "/bin/true")
		})
		kit.NothingLeft(t)
		return perSecond(ours, took)
	}
	want := 5.0
	if kit.Emulated() || kit.Patience > 1 { // hypervisors that take 32-bit programs away, and emulators, make page faults dear, of which a Go program's start is full
		want = 2.5
	}
	// Where the pages of a program lie in memory is a matter of luck, and of a tenth:
	// the best of three measurements counts.
	for range 3 {
		sealed, plain := runs(kit.Sealed), runs(kit.Base)
		if after := mounts(t); after != before {
			t.Fatalf("the host's mounts before\n%s\nafter\n%s", before, after)
		}
		nspawn := perSecond(theirs, together(t, theirs, atATime, func(int) *exec.Cmd {
			return kit.Nspawn("/bin/true")
		}))
		t.Logf("%d containers, %d at a time, a second: sealed %.0f, plain %.0f, systemd-nspawn %.1f: %.1f and %.1f times its throughput",
			ours, atATime, sealed, plain, nspawn, sealed/nspawn, plain/nspawn)
		if sealed >= want*nspawn {
			return
		}
	}
	t.Errorf("less than %v times nspawn's throughput", want)
}

func TestAHundredLongContainersAtOnce(t *testing.T) {
	many := kit.Times(100)
	before := mounts(t)
	ends := make(chan error, many)
	for i := range many {
		cmd := call(t, callers[i%len(callers)], "run", "--quiet", "--chdir", "/", "--name", fmt.Sprintf("long-%d", i), kit.Base, "sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { ends <- cmd.Wait() }()
	}
	running := func() int { return strings.Count(kit.Root(t, "ps", "--all-users", "--names").Out, "long-") }
	kit.Eventually(t, "all run", func() bool { return running() == many })
	for _, i := range []int{0, 1, 2, many / 2, many - 1} {
		if r := kit.Do(t, call(t, callers[i%len(callers)], "exec", fmt.Sprintf("long-%d", i), "true")); r.Code != 0 {
			t.Errorf("join %d: %+v", i, r)
		}
	}
	for _, caller := range callers {
		if r := kit.Do(t, call(t, caller, "kill", "--all")); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	}
	for range many {
		if err := <-ends; err == nil || err.Error() != "exit status 143" {
			t.Errorf("%v", err)
		}
	}
	kit.NothingLeft(t)
	if after := mounts(t); after != before {
		t.Error("the host's mounts have changed")
	}
}

// What a supervisor holds does not grow with what it is asked for.
func TestASupervisorDoesNotGrow(t *testing.T) {
	cmd := call(t, kit.User, "run", "--quiet", "--name", "grows", kit.Image, "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer kit.Run(t, "kill", "grows")
	joined := func(n int) {
		together(t, n, 8, func(int) *exec.Cmd { return call(t, kit.User, "exec", "grows", "true") })
	}
	kit.Eventually(t, "it runs", func() bool { return kit.Run(t, "exec", "grows", "true").Code == 0 })
	joined(kit.Times(100))
	files, memory := held(t, cmd.Process.Pid)
	joined(kit.Times(400))
	filesAfter, memoryAfter := held(t, cmd.Process.Pid)
	t.Logf("after %d commands that joined: %d descriptors, %d KiB; after five times as many: %d, %d KiB", kit.Times(100), files, memory, filesAfter, memoryAfter)
	if filesAfter > files || memoryAfter > memory+4096 {
		t.Error("it grows")
	}
}

// held is how many descriptors a process has, and its resident memory in KiB.
func held(t *testing.T, pid int) (files, memory int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	memory, err = strconv.Atoi(string(bytes.Fields(rest)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return len(list), memory
}

// orphans makes CHILDREN children that outlive their parents, at most a hundred at a
// time, and counts who is left.
const orphans = `#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <unistd.h>
#include <sys/wait.h>
int main(void) {
	for (int i = 0; i < CHILDREN; i++) {
		pid_t child = fork();
		if (child < 0) { perror("fork"); return 1; }
		if (child == 0) {
			if (fork() == 0) usleep(1000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	sleep(1);
	int left = 0;
	DIR *proc = opendir("/proc");
	for (struct dirent *e; (e = readdir(proc)); ) left += atoi(e->d_name) > 0;
	printf("%d\n", left);
}
`

func TestThousandsOfOrphansAreReaped(t *testing.T) {
	cmd := call(t, kit.User, "run", "--quiet", "--chdir", "/tmp", kit.Image, "sh", "-c", fmt.Sprintf("cat > a.c && gcc -O -DCHILDREN=%d a.c && ./a.out", kit.Rounds(5_000, 50_000)))
	cmd.Stdin = strings.NewReader(orphans)
	r := kit.DoWithin(t, kit.Within(15*time.Minute), cmd)
	if r.Out != "3\n" || r.Code != 0 { // PID 1, the shell, itself
		t.Errorf("%+v", r)
	}
}
