package lock

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// ErrTime means that a lock was not to be had within the time.
var ErrTime = errors.New("not within the time")

// A Busy error says that others hold a lock and do not give it up.
type Busy struct {
	Waited  time.Duration
	Holders []Holder // as far as they can be found
}

// Error names the holders, and says what to do.
func (b *Busy) Error() string {
	if len(b.Holders) == 0 {
		return fmt.Sprintf("somebody has been at it for %v: is a runtime of yours stopped?", b.Waited)
	}
	var list []string
	for _, h := range b.Holders {
		list = append(list, h.String())
	}
	return fmt.Sprintf("held for %v by %s: continue (SIGCONT) or kill it", b.Waited, strings.Join(list, ", "))
}

// A Holder is a process that holds a lock.
type Holder struct {
	PID     int
	UID     uint32
	Stopped bool
}

func (h Holder) String() string {
	state := ""
	if h.Stopped {
		state = ", stopped"
	}
	return fmt.Sprintf("process %d (user %d%s)", h.PID, h.UID, state)
}

// maxInfo bounds what is read of a file of procfs, in bytes.
const maxInfo = 64 << 10

// lookWithin bounds how long processes are looked through: anybody can have many, with
// many descriptors each.
const lookWithin = time.Second

// Holders finds the processes that hold a lock on the file that is open as fd, of
// either kind, but this one, as far as a second suffices. Root finds all; others those
// that procfs shows them, which the kernel does only of processes that they could trace
// (proc_pid_fdinfo(5)).
func Holders(fd int) []Holder {
	var file unix.Stat_t
	if unix.Fstat(fd, &file) != nil {
		return nil
	}
	lower, err := lookIntoOthers()
	if err != nil {
		return nil
	}
	defer lower()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []Holder
	end := time.Now().Add(lookWithin)
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() || !holds(p.Name(), &file, end) {
			continue
		}
		list = append(list, describe(pid))
	}
	return list
}

// lookIntoOthers raises, on a locked thread, what lets root look into processes that
// are not dumpable, such as a supervisor. Nobody else is permitted it.
func lookIntoOthers() (lower func(), err error) {
	goruntime.LockOSThread()
	have, err := nsexec.CurrentCapabilities()
	if err == nil {
		err = nsexec.SetEffective(have.Effective | have.Permitted&(1<<unix.CAP_SYS_PTRACE))
	}
	return func() {
		if nsexec.SetEffective(have.Effective) == nil { // else the thread goes with its goroutine
			goruntime.UnlockOSThread()
		}
	}, err
}

// holds tells whether a process has a lock on a file. That it is this file and no other
// of its number, in another file system, only a look at the descriptor tells: in what
// procfs says of a lock, the device is the superblock's, which on BTRFS is not that of
// the file.
func holds(pid string, of *unix.Stat_t, end time.Time) bool {
	files, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		return false
	}
	for _, f := range files {
		if time.Now().After(end) {
			return false
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+pid+"/fd/"+f.Name(), &st) != nil || st.Dev != of.Dev || st.Ino != of.Ino {
			continue
		}
		info, err := file.Read("/proc/"+pid+"/fdinfo/"+f.Name(), maxInfo)
		if err == nil && bytes.Contains(info, []byte("\nlock:")) {
			return true
		}
	}
	return false
}

func describe(pid int) Holder {
	h := Holder{PID: pid}
	status, err := file.Status(pid)
	if err != nil {
		return h
	}
	h.Stopped = strings.HasPrefix(status["State"], "T")
	if ids := strings.Fields(status["Uid"]); len(ids) > 0 {
		uid, _ := strconv.ParseUint(ids[0], 10, 32)
		h.UID = uint32(uid)
	}
	return h
}
