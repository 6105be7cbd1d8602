package client

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"mayfly/nsexec"
)

func TestStatOfAHostileName(t *testing.T) {
	line := "42 (a) S 1 (b)) S 7 42 42 0 -1 4194304 1 2 3 4 100 50 25 25 20 0 3 0 1000 4096 10 18446744073709551615 0"
	p, ok := parseStat(42, line)
	if !ok || p.parent != 7 || p.name != "a) S 1 (b)" || p.CPU != 2*time.Second || p.Tasks != 3 || p.Memory != uint64(10*os.Getpagesize()) {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, bad := range []string{"", "1", "1 (", "1 )(", "1 (x)", "1 (x) S"} {
		if _, ok := parseStat(1, bad); ok {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestUsageCountsDescendants(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 60 & sleep 60 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = exec.Command("pkill", "-P", strconv.Itoa(cmd.Process.Pid)).Run()
		_ = cmd.Wait()
	}()
	for range 200 {
		used, err := usages([]int{os.Getpid(), cmd.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		if u := used[cmd.Process.Pid]; u.Tasks == 2 && used[os.Getpid()].Tasks >= 3 && u.Memory > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("two children are not two tasks")
}

func TestUsageLeavesOutTheKeeper(t *testing.T) {
	tasks := func() int {
		used, err := usages([]int{os.Getpid()})
		if err != nil {
			t.Fatal(err)
		}
		return used[os.Getpid()].Tasks
	}
	before := tasks()
	keeper, err := nsexec.Keep(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Release()
	for range 200 { // until it has its name
		if tasks() == before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d tasks, %d without it", tasks(), before)
}
