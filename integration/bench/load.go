package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// underLoad times launches while somebody writes to the file system of the store.
func (b bench) underLoad() {
	title("A launch while another process writes to the same file system at full speed, %d rounds", b.rounds)
	stop := writer()
	defer stop()
	table(b.rounds, []*contender{b.floor(), {name: "runtime run", args: b.run()}})
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

// crowd times launches with other snapshots of the image in the store.
func (b bench) crowd() {
	title("A launch with other snapshots in the store, %d rounds each", b.rounds)
	dir := filepath.Join(store, ".mayfly-bench-crowd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Fatal(err)
	}
	made := 0
	defer func() {
		for i := range made {
			output("btrfs", "subvolume", "delete", filepath.Join(dir, fmt.Sprint(i)))
		}
		_ = os.Remove(dir)
	}()
	fmt.Println("| other snapshots | median ms | 95th percentile | ratio to the C floor |")
	fmt.Println("|---|---|---|---|")
	for _, n := range []int{0, 100, 1000} {
		for ; made < n; made++ {
			output("btrfs", "subvolume", "snapshot", b.path, filepath.Join(dir, fmt.Sprint(made)))
		}
		list := []*contender{b.floor(), {name: "runtime run", args: b.run()}}
		measure(b.rounds, list)
		fmt.Printf("| %d | %.2f | %.2f | %.2f |\n", n, quantile(list[1].ms, 0.5), quantile(list[1].ms, 0.95), ratio(list[1], list[0]))
	}
}
