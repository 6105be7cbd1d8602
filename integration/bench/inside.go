package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// holds tells what a running container holds of memory, and how large the binary is.
func (b bench) holds() {
	title("Size")
	cmd := exec.Command(binary, "run", "--user", who, b.image, "sleep", "60")
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	init := strings.TrimSpace(output("pgrep", "--newest", "--exact", "mayfly-init"))
	supervisor, first := pss(strconv.Itoa(cmd.Process.Pid)), pss(init)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	info, err := os.Stat(binary)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("PSS of the supervisor %d KiB, of PID 1 %d KiB: it is the same memory, which they share.\n", supervisor, first)
	fmt.Printf("The binary has %d KiB.\n", info.Size()/1024)
}

// pss reads a process's proportional set size, in KiB.
func pss(pid string) int {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")))
			if err != nil {
				log.Fatal(err)
			}
			return n
		}
	}
	log.Fatalf("process %s tells no PSS", pid)
	return 0
}

// inside compares what runs in a container with the same outside.
func (b bench) inside() {
	title("A getppid loop, 15 rounds")
	var host, inside, ratios []float64
	for range 15 {
		h := number(output(work + "/getppid"))
		i := number(output(binary, "run", "--user", who, "--bind-ro", work+":/mnt", b.image, "/mnt/getppid"))
		host, inside, ratios = append(host, h), append(inside, i), append(ratios, i/h)
	}
	fmt.Printf("host %.1f ns, inside %.1f ns: ratio %.3f\n", quantile(host, 0.5), quantile(inside, 0.5), quantile(ratios, 0.5))

	const rounds = 7
	title("zlib, configure and make, %d rounds", rounds)
	script := "cd /mnt/zlib && rm -rf build && cp -r source build && cd build && ./configure >/dev/null && make -j2 >/dev/null"
	root := b.chroot()
	defer root.remove()
	table(rounds, []*contender{
		{name: "under chroot", args: []string{"chroot", "--userspec=" + b.uid + ":" + b.gid, root.path, "sh", "-ec", script}},
		{name: "runtime run", args: []string{binary, "run", "--user", who, "--bind", work + ":/mnt", b.image, "sh", "-ec", script}},
	})
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

// A chroot is a snapshot of the image, mounted as far as a build needs it.
type chroot struct {
	path   string
	mounts []string
}

func (b bench) chroot() *chroot {
	c := &chroot{path: filepath.Join(store, ".mayfly-bench-chroot")}
	output("btrfs", "subvolume", "snapshot", b.path, c.path)
	for _, m := range [][]string{
		{"-t", "proc", "proc", "/proc"}, {"--bind", "/dev", "/dev"}, {"-t", "tmpfs", "tmpfs", "/tmp"}, {"--bind", work, "/mnt"},
	} {
		target := c.path + m[len(m)-1]
		output(append(append([]string{"mount"}, m[:len(m)-1]...), target)...)
		c.mounts = append(c.mounts, target)
	}
	return c
}

func (c *chroot) remove() {
	for i := len(c.mounts) - 1; i >= 0; i-- {
		output("umount", c.mounts[i])
	}
	output("btrfs", "subvolume", "delete", c.path)
}
