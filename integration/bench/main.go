// Command bench compares a launch with its peers and with the bare system calls,
// and prints a table. It needs root and what `make bench` prepares.
//
// Commands take turns, A B C A B C, so that the ratios mean something on a machine
// whose speed drifts; the figures are medians of wall time from fork to wait.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	store = "/var/lib/machines"
	image = store + "/deb12-i386"
	who   = "mayfly-test"
	work  = "/var/lib/mayfly-bench"
)

type contender struct {
	name string
	args []string
	ms   []float64
}

func main() {
	log.SetFlags(0)
	rounds := 100
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 1 {
			log.Fatalf("rounds %q: want a number", os.Args[1])
		}
		rounds = n
	}
	u, err := user.Lookup(who)
	if err != nil {
		log.Fatal(err)
	}
	run := []string{"/usr/local/bin/runtime", "run", "--user", who}
	origin := []string{"--bind-ro", "/etc/passwd", "--bind-ro", "/etc/group", "--bind-ro", "/opt", "--bind", "/home"}
	bwrap := []string{"bwrap", "--ro-bind", image, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run",
		"--ro-bind", "/etc/passwd", "/etc/passwd", "--ro-bind", "/etc/group", "/etc/group", "--ro-bind", "/opt", "/opt",
		"--bind", "/home", "/home", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--hostname", "x", "/bin/true"}
	nspawn := []string{"systemd-nspawn", "-q", "--keep-unit", "--register=no", "--directory=" + image, "--personality=x86",
		"--ephemeral", "--read-only", "--bind-ro=/etc/passwd", "--bind-ro=/etc/group", "--bind-ro=/opt", "--bind=/home",
		"-u", who, "--pipe", "/bin/true"}

	fmt.Printf("with a snapshot, %d rounds\n\n", rounds)
	table(rounds, []*contender{
		{name: "the same system calls in static C", args: []string{work + "/floor", image, store, u.Uid, u.Gid, "/bin/true"}},
		{name: "runtime run", args: slices.Concat(run, []string{"deb12-i386", "/bin/true"})},
		{name: "runtime run, sequential variant", args: slices.Concat([]string{work + "/sequential", "run", "--user", who, "deb12-i386", "/bin/true"})},
		{name: "systemd-nspawn --ephemeral", args: nspawn},
		{name: "schroot, btrfs-snapshot", args: []string{"schroot", "-c", "mayfly-bench", "-d", "/", "--", "/bin/true"}},
	})
	fmt.Printf("\nwithout a snapshot, %d rounds\n\n", rounds)
	table(rounds, []*contender{
		{name: "bubblewrap", args: bwrap},
		{name: "runtime run --no-ephemeral", args: slices.Concat(run, []string{"--no-ephemeral"}, origin, []string{"deb12-i386", "/bin/true"})},
		{name: "runc", args: []string{"runc", "run", "--bundle", work + "/bundle", "mayfly-bench"}},
		{name: "chroot", args: []string{"chroot", image, "/bin/true"}},
	})
	fmt.Printf("\nstart-up, %d rounds\n\n", rounds)
	table(rounds, []*contender{
		{name: "an empty Go program", args: []string{work + "/empty"}},
		{name: "runtime version", args: []string{"/usr/local/bin/runtime", "version"}},
	})
	fmt.Println("\nwhile another process writes to the same file system at full speed")
	fmt.Println()
	stop := writer()
	table(rounds/2+1, []*contender{
		{name: "the same system calls in static C", args: []string{work + "/floor", image, store, u.Uid, u.Gid, "/bin/true"}},
		{name: "runtime run", args: slices.Concat(run, []string{"deb12-i386", "/bin/true"})},
	})
	stop()
}

// table runs the contenders in turn and prints a row for each.
func table(rounds int, list []*contender) {
	for round := range rounds + 2 { // two to warm up
		for _, c := range list {
			began := time.Now()
			if out, err := exec.Command(c.args[0], c.args[1:]...).CombinedOutput(); err != nil {
				log.Fatalf("%s: %v: %s", c.name, err, out)
			}
			if round >= 2 {
				c.ms = append(c.ms, float64(time.Since(began).Microseconds())/1000)
			}
		}
	}
	fmt.Println("| | median ms | 95th percentile | ratio |")
	fmt.Println("|---|---|---|---|")
	for _, c := range list {
		fmt.Printf("| %s | %.2f | %.2f | %.2f |\n", c.name, quantile(c.ms, 0.5), quantile(c.ms, 0.95), quantile(ratios(c.ms, list[0].ms), 0.5))
	}
}

// ratios compares each run with the first contender's run of the same round.
func ratios(ms, first []float64) []float64 {
	var r []float64
	for i := range ms {
		r = append(r, ms[i]/first[i])
	}
	return r
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

// writer writes a file in the store over and over until the result is called.
func writer() (stop func()) {
	name := store + "/.mayfly-bench-load"
	cmd := exec.Command("sh", "-c", "while :; do dd if=/dev/zero of="+name+" bs=1M count=512 conv=fsync status=none; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	time.Sleep(time.Second)
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			log.Print("the writer ended by itself: ", err)
		}
		_ = os.Remove(name)
	}
}
