package client

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/privilege"
)

// findInit opens a pidfd of PID 1 of the container, if exactly one process can be it.
// The thread must act on files as root.
func (k *killing) findInit() error {
	if k.init >= 0 {
		return nil
	}
	all, err := processes()
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.name != initName {
			continue
		}
		fd := k.openInit(p.pid)
		if fd >= 0 && k.init >= 0 { // two: it cannot be told which
			unix.Close(fd)
			unix.Close(k.init)
			k.init = -1
			return nil
		}
		if fd >= 0 {
			k.init, k.initPID = fd, p.pid
		}
	}
	return nil
}

// openInit opens a process if it is PID 1 of the container; -1 otherwise. What procfs
// tells of a number is of the process that was opened, and of the supervisor, as long
// as neither has been reaped.
func (k *killing) openInit(pid int) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	parent, is := initParent(k.here, pid)
	if is && (parent == k.record.PID || k.hasLine(fd, pid)) && !reaped(fd) && !reaped(k.supervisor) {
		return fd
	}
	unix.Close(fd)
	return -1
}

// initParent tells whether a process is PID 1 of some container, and its parent. A
// caller can have children of that name in PID namespaces of their own before they
// execute this program, but those do not have root's ids.
func initParent(h here.Here, pid int) (parent int, is bool) {
	status, err := file.Status(pid)
	if err != nil {
		return 0, false
	}
	root := strconv.FormatUint(uint64(h.Root().UID), 10)
	numbers := strings.Fields(status["NSpid"])
	is = status["Name"] == initName && slices.Equal(strings.Fields(status["Uid"]), []string{root, root, root, root}) &&
		len(numbers) == 2 && numbers[1] == "1"
	if is {
		parent, err = strconv.Atoi(status["PPid"])
	}
	return parent, is && err == nil
}

// hasLine tells whether PID 1 holds the peer of a socket of the supervisor's (the line
// that ends it). It is asked since a supervisor of which threads have ended may be
// nobody's parent any more. It takes CAP_SYS_PTRACE, which only root has.
func (k *killing) hasLine(init, pid int) (has bool) {
	have, err := nsexec.CurrentCapabilities()
	if err != nil || have.Permitted&(1<<unix.CAP_SYS_PTRACE) == 0 {
		return false
	}
	_ = privilege.AsRoot(k.here, 1<<unix.CAP_SYS_PTRACE, func() error {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		for _, f := range files {
			n, _ := strconv.Atoi(f.Name())
			fd, err := unix.PidfdGetfd(init, n, 0)
			if err != nil {
				continue
			}
			peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
			has = has || err == nil && int(peer.Pid) == k.record.PID
			unix.Close(fd)
		}
		return err
	})
	return has
}

// reaped tells that a process has ended and was reaped.
func reaped(pidfd int) bool { return unix.PidfdSendSignal(pidfd, 0, nil, 0) == unix.ESRCH }

// initOver tells that PID 1 has ended or is ending. While it ends (PF_EXITING) the
// kernel kills everything in the container, and PID 1 waits for that.
func (k *killing) initOver() bool {
	if hasEnded(k.init) {
		return true
	}
	text, err := file.Read(fmt.Sprintf("/proc/%d/stat", k.initPID), maxStat)
	if reaped(k.init) {
		return true
	}
	p, _ := parseStat(k.initPID, string(text))
	return err == nil && p.exiting
}

// finish waits until the container of a killed supervisor has ended, and kills PID 1 if
// it does not. The error tells what has not ended.
func (k *killing) finish() error {
	if k.awaitEnd(killWithin) {
		return nil
	}
	var problem error
	if err := access.AsRoot(k.here, k.findInit); err != nil {
		problem = err
	}
	if k.init >= 0 && !k.initOver() {
		problem = nsexec.KillAsRoot(k.here.Root(), k.init)
	}
	if k.awaitEnd(killWithin) {
		return nil
	}
	const waits = "has been killed, and has not ended: it waits for a file system to close its standard input, output or error"
	who := fmt.Sprintf("container %s: its supervisor (process %d)", k.record.Name, k.record.PID)
	switch {
	case k.init >= 0 && k.initOver() && !k.over():
		return fmt.Errorf("%s %s; all in the container has been killed, its record and its copy stay until that answers or is unmounted", who, waits)
	case k.init >= 0 && k.over():
		return errors.Join(fmt.Errorf("%s has ended, but PID 1 of the container (process %d) has not", who, k.initPID), problem)
	}
	text := "; what is in the container may go on"
	if k.init >= 0 {
		text = fmt.Sprintf("; PID 1 of the container (process %d) goes on", k.initPID)
	}
	if os.Getuid() != 0 {
		text += ": root's `runtime kill --signal KILL` ends it"
	}
	if problem != nil {
		text += ": " + problem.Error()
	}
	return fmt.Errorf("%s %s%s", who, waits, text)
}

// awaitEnd waits until the supervisor and PID 1 have ended, and tells whether they
// have.
func (k *killing) awaitEnd(atMost time.Duration) bool {
	for begun := time.Now(); ; time.Sleep(killStep) {
		if k.over() && (k.init < 0 || k.initOver()) {
			return true
		}
		if time.Since(begun) > atMost {
			return false
		}
	}
}
