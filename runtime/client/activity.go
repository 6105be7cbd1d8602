package client

import (
	"os"
	"strconv"
	"strings"
	"time"

	"mayfly/runtime/internal/file"
)

// An Activity is what the processes of a container use at a moment.
type Activity struct {
	// CPU is the time of living processes, and of those that they have reaped.
	CPU time.Duration `json:"cpuNanoseconds"`
	// Memory is resident memory. Shared memory counts for each process.
	Memory uint64 `json:"memoryBytes"`
	Tasks  int    `json:"tasks"` // threads
}

// A process is what proc_pid_stat(5) tells of one.
type process struct {
	pid, parent int
	name        string
	exiting     bool // it is ending (PF_EXITING)
	Activity
}

// Names of a supervisor's own children, which share its memory: PID 1 of the container,
// and the process that keeps descriptors open (nsexec.Keeper).
const initName, keeperName = "mayfly-init", "mayfly-keeper"

const (
	maxStat    = 4096
	clockTicks = 100 // clock ticks in a second, in every architecture's user space
)

// usages adds up what the descendants of each supervisor use. (In a PID namespace an
// orphan becomes a child of PID 1, which is a child of the supervisor.)
func usages(supervisors []int) (map[int]Activity, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	result := map[int]Activity{}
	for _, s := range supervisors {
		var sum Activity
		next := children[s]
		for len(next) > 0 {
			p := next[len(next)-1]
			next = append(next[:len(next)-1], children[p.pid]...)
			if p.parent == s && (p.name == initName || p.name == keeperName) {
				continue
			}
			sum.CPU += p.CPU
			sum.Memory += p.Memory
			sum.Tasks += p.Tasks
		}
		result[s] = sum
	}
	return result, nil
}

func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := file.Read("/proc/"+e.Name()+"/stat", maxStat)
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(pid, string(data)); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// parseStat reads a line of /proc/PID/stat. The name in it can hold anything,
// parentheses too.
func parseStat(pid int, line string) (process, bool) {
	open, shut := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || shut < open {
		return process{}, false
	}
	fields := strings.Fields(line[shut+1:])
	const state = 3 // the number of fields[0] in proc_pid_stat(5)
	number := func(n int) int {
		if n-state >= len(fields) {
			return 0
		}
		v, _ := strconv.Atoi(fields[n-state])
		return v
	}
	ticks := number(14) + number(15) + number(16) + number(17)
	const exiting = 0x4 // PF_EXITING
	return process{pid: pid, parent: number(4), name: line[open+1 : shut], exiting: number(9)&exiting != 0, Activity: Activity{
		CPU:    time.Duration(ticks) * time.Second / clockTicks,
		Memory: uint64(number(24)) * uint64(os.Getpagesize()),
		Tasks:  number(20),
	}}, len(fields) > 21
}
