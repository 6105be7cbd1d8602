// Package counts holds the work of a launch to a table: system calls by name, threads,
// context switches and page faults. Counts do not depend on the machine's speed, as
// times do.
//
// The table is the file "allowed". A change that needs more has to edit it, by hand or
// with `go test ./integration/counts -args -write`, and to say why.
package counts

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

var write = flag.Bool("write", false, "write what is counted, with room, into the table")

// table is the file of what is allowed: lines of CASE NAME COUNT.
const table = "allowed"

// What is counted besides system calls.
const (
	allCalls   = "system-calls"     // without those that are unsteady
	threads    = "threads"          // and processes besides the first
	switches   = "context-switches" // without a tracer, the command's included
	pageFaults = "page-faults"      // likewise
)

// unsteady are calls by which the Go runtime hands over between threads and waits: their
// number depends on the machine's speed, which a tracer changes. And that of getdents64
// depends on what else is in the store and runs.
var unsteady = []string{"getdents64", "futex", "nanosleep", "epoll_pwait", "sched_yield", "tgkill", "getpid", "rt_sigreturn", "restart_syscall"}

// noise is what is allowed beyond the table, also of a call that is not in it: the Go
// runtime may need one thread more, or wake one, which is some calls of each kind.
const noise = 5

// rounds is how often each case is counted. The least of the counts is that of the
// undisturbed one.
const rounds = 5

func cases() map[string][]string {
	run := func(image string) []string { return []string{"run", "--chdir", "/", image, "/bin/true"} }
	return map[string][]string{"version": {"version"}, "sealed": run(kit.Sealed), "plain": run(kit.Base), "exec": {"exec", "counted", "/bin/true"}}
}

func TestALaunchDoesNoMoreThanTheTableSays(t *testing.T) {
	if !kit.OnBTRFS() {
		return // copies are others there
	}
	// Before Linux 6.8 a launch reads the list of its mounts, and before 6.2 that of its
	// descriptors: the table is not of such a kernel.
	if _, _, errno := unix.RawSyscall(unix.SYS_LISTMOUNT, 0, 0, 0); errno == unix.ENOSYS {
		t.Log("an older kernel than the table's: nothing is compared")
		return
	}
	joined(t)
	found := map[string]int{}
	for name, args := range cases() {
		for what, n := range count(t, args) {
			found[name+" "+what] = n
		}
	}
	if *write {
		store(t, found)
	}
	allowed := load(t)
	for _, what := range slices.Sorted(maps.Keys(found)) {
		if most := allowed[what]; found[what] > most+noise {
			t.Errorf("%s: %d, and %d are allowed: integration/counts/%s has the table", what, found[what], most, table)
		}
	}
	// A table with far more than is needed holds nothing. Kernels and the Go runtime make
	// a difference of some calls, which is much of a small case.
	for what, most := range allowed {
		if n := found[what]; strings.HasSuffix(what, " "+allCalls) && most > 2*n {
			t.Errorf("%s: %d, and %d are allowed: lower that", what, n, most)
		}
	}
}

// joined starts a container for exec.
func joined(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--name", "counted", kit.Sealed, "sleep", "600")
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = kit.Do(t, kit.As(t, kit.User, kit.Runtime, "kill", "--signal", "KILL", "counted"))
		_ = cmd.Wait()
	})
	kit.Eventually(t, "the container runs", func() bool {
		return kit.Do(t, kit.As(t, kit.User, kit.Runtime, "exec", "counted", "true")).Code == 0
	})
}

// count returns the least counts of all rounds.
func count(t *testing.T, args []string) map[string]int {
	least := map[string]int{}
	for range rounds {
		counts := traced(t, args)
		counts[switches], counts[pageFaults] = untraced(t, args)
		for what, n := range counts {
			if old, known := least[what]; !known || n < old {
				least[what] = n
			}
		}
	}
	return least
}

var call = regexp.MustCompile(`^(\d+) +(\w+)\(`)

// traced counts under strace(1), which lets go of the command when that is executed.
func traced(t *testing.T, args []string) map[string]int {
	log := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-b", "execve", "-e", "signal=none", "-u", kit.User, "-o", log, kit.Runtime}, args...)...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	data, err := os.ReadFile(log)
	kit.Must(t, err)
	counts, tasks := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(string(data)) {
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		tasks[m[1]] = true
		if !slices.Contains(unsteady, m[2]) {
			counts[m[2]]++
			counts[allCalls]++
		}
	}
	counts[threads] = len(tasks) - 1
	return counts
}

// untraced returns context switches and page faults, of the command as well.
func untraced(t *testing.T, args []string) (switched, faults int) {
	cmd := kit.As(t, kit.User, append([]string{kit.Runtime}, args...)...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return int(u.Nvcsw + u.Nivcsw), int(u.Minflt)
}

// load reads the table.
func load(t *testing.T) map[string]int {
	data, err := os.ReadFile(table)
	kit.Must(t, err)
	allowed := map[string]int{}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var name, what string
		var n int
		if _, err := fmt.Sscan(line, &name, &what, &n); err != nil {
			t.Fatalf("%s: %q: %v", table, line, err)
		}
		allowed[name+" "+what] = n
	}
	return allowed
}

// store writes the table, with room for another kernel and for noise.
func store(t *testing.T, found map[string]int) {
	var b strings.Builder
	b.WriteString("# What a launch may do at most: see counts_test.go. CASE WHAT COUNT\n")
	for _, what := range slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		first, _, _ := strings.Cut(a, " ")
		second, _, _ := strings.Cut(b, " ")
		return cmp.Or(cmp.Compare(first, second), cmp.Compare(found[b], found[a]), cmp.Compare(a, b))
	}) {
		n := found[what]
		room := n + n/20
		switch {
		case strings.HasSuffix(what, switches):
			room = 2*n + 10
		case strings.HasSuffix(what, pageFaults):
			room = n + n/7
		}
		fmt.Fprintln(&b, what, room)
	}
	kit.Must(t, os.WriteFile(table, []byte(b.String()), 0o644))
}
