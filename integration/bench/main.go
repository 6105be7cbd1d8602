// Command bench compares a launch with its peers and with the bare system calls,
// and prints tables. It needs root and what `make bench` prepares.
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
	"syscall"
)

const (
	store   = "/var/lib/machines"
	binary  = "/usr/local/bin/runtime"
	who     = "mayfly-test"
	work    = "/var/lib/mayfly-bench"
	nothing = "/bin/true"
)

// A bench knows what the commands are made of.
type bench struct {
	image    string // name
	path     string
	uid, gid string
	rounds   int
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 && len(os.Args) != 4 {
		log.Fatal("usage: bench IMAGE ROUNDS [PART]")
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil || rounds < 1 {
		log.Fatalf("rounds %q: want a number", os.Args[2])
	}
	u, err := user.Lookup(who)
	if err != nil {
		log.Fatal(err)
	}
	b := bench{image: os.Args[1], path: store + "/" + os.Args[1], uid: u.Uid, gid: u.Gid, rounds: rounds}
	for _, part := range []struct {
		name string
		run  func()
	}{{"launches", b.launches}, {"kinds", b.kinds}, {"grant", b.grant}, {"holds", b.holds}, {"inside", b.inside}, {"load", b.underLoad}, {"crowd", b.crowd}, {"images", b.images}} {
		if len(os.Args) == 3 || os.Args[3] == part.name {
			part.run()
		}
	}
}

func title(format string, args ...any) { fmt.Printf("\n### "+format+"\n\n", args...) }

// run is a launch of ours, with flags.
func (b bench) run(flags ...string) []string {
	return slices.Concat([]string{binary, "run", "--user", who}, flags, []string{b.image, nothing})
}

func (b bench) floor() *contender {
	return &contender{name: "the same system calls in static C", args: []string{work + "/floor", b.path, store, b.uid, b.gid, nothing}}
}

func (b bench) launches() {
	origin := []string{"--bind-ro", "/etc/passwd", "--bind-ro", "/etc/group", "--bind-ro", "/opt", "--bind", "/home"}
	nspawn := []string{"systemd-nspawn", "-q", "--keep-unit", "--register=no", "--directory=" + b.path, "--personality=x86",
		"--ephemeral", "--read-only", "--bind-ro=/etc/passwd", "--bind-ro=/etc/group", "--bind-ro=/opt", "--bind=/home",
		"-u", who, "--pipe", nothing}
	sequential := b.run()
	sequential[0] = work + "/sequential"

	title("A launch with a snapshot, %d rounds", b.rounds)
	table(b.rounds, []*contender{
		b.floor(),
		{name: "runtime run", args: b.run()},
		{name: "runtime run, sequential variant", args: sequential},
		{name: "systemd-nspawn --ephemeral", args: nspawn},
		{name: "schroot, btrfs-snapshot", args: []string{"schroot", "-c", "mayfly-bench", "-d", "/", "--", nothing}},
	})
	title("A launch without a snapshot, %d rounds", b.rounds)
	table(b.rounds, []*contender{
		{name: "bubblewrap", args: bubblewrap(b.path)},
		{name: "runtime run --no-ephemeral", args: b.run(slices.Concat([]string{"--no-ephemeral"}, origin)...)},
		{name: "runc", args: []string{"runc", "run", "--bundle", work + "/bundle", "mayfly-bench"}},
		{name: "chroot", args: []string{"chroot", b.path, nothing}},
	})
	title("Start-up, %d rounds", b.rounds)
	table(b.rounds, []*contender{
		{name: "an empty Go program", args: []string{work + "/empty"}},
		{name: "runtime version", args: []string{binary, "version"}},
		{name: "an empty static C program", args: []string{work + "/empty-c"}},
	})
}

// output runs a command to its end and returns what it prints.
func output(args ...string) string { return outputAs(nil, args...) }

// outputAs does it as a user.
func outputAs(who *syscall.Credential, args ...string) string {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	if who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		log.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}
