package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/client"
	"mayfly/runtime/grant"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A detached run (--detach) is a process of its own, in a session of its own: the
// program executed again with the same arguments, and --detached before them. It writes
// to two files in the caller's directory of such runs: NAME.log has its output, NAME.json
// gets its report at the end, and is locked (flock(2)) until then. All of it is done
// with the caller's rights.

// detachedDirectory is where the caller's files of detached runs are.
func detachedDirectory() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home := os.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", errors.New("neither XDG_STATE_HOME nor HOME says where to keep the output of detached runs")
		}
		base = filepath.Join(home, ".local/state")
	}
	return filepath.Join(base, "mayfly"), nil
}

const (
	outputSuffix = ".log"
	reportSuffix = ".json"
	// keepReports is how long the files of a run that has ended are kept, at least.
	keepReports = 30 * 24 * time.Hour
)

// detach starts the run as a process of its own, waits until the command has been
// executed, and prints the container's name. If the run fails before, it prints what
// the run has said, and returns its exit status.
func (o *options) detach(h here.Here) (int, error) {
	switch {
	case o.image == "" && o.session == "":
		return exit(errors.New("no image given: `runtime image list` shows what there is"))
	case o.login:
		return exit(errors.New("--detach: a shell without a terminal ends at once; `runtime run --detach IMAGE COMMAND`, then `runtime exec -it NAME bash`"))
	case o.tty:
		return exit(errors.New("--detach and --tty exclude each other: `runtime exec -it NAME bash` starts a shell beside the command"))
	case o.dieWithParent:
		return exit(errors.New("--detach and --die-with-parent exclude each other"))
	case o.preserve > 0:
		return exit(errors.New("--detach and --preserve-fds exclude each other: the run has no descriptors of yours"))
	case o.namesDescriptor():
		return exit(errors.New("--detach: the run has no descriptors of yours: give a FILE a name of its own"))
	case h.Rootless() || !grantedByFile():
		return exit(errors.New("--detach needs a grant of the file; `setsid -f runtime run ... >FILE 2>&1` does much the same"))
	}
	signals, err := listen()
	if err != nil {
		return exit(err)
	}
	name := o.name
	if name == "" {
		image, _, _ := strings.Cut(o.image, "@")
		name = fmt.Sprintf("%.40s-%016x", image+o.session, rand.Uint64())
	}
	if err := ref.CheckName("container", name); err != nil {
		return exit(err)
	}
	dir, err := detachedDirectory()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return exit(err)
	}
	forgetOld(dir)
	output, report, err := openDetached(dir, name)
	if err != nil {
		return exit(err)
	}
	report.Close() // the run locks it itself
	defer output.Close()
	run, err := startDetached(name, report.Name(), output)
	if err != nil {
		return exit(fmt.Errorf("--detach: %w", err))
	}
	ended := make(chan struct{})
	go func() {
		_ = run.Wait()
		close(ended)
	}()
	if awaitStarted(h, name, signals, run, ended) {
		fmt.Fprintln(stdout, name)
		return 0, nil
	}
	return toldBy(name, output, report.Name(), run)
}

// startDetached executes the program again. It gets the caller's limits back, which the
// entry point has raised.
func startDetached(name, report string, output *os.File) (*exec.Cmd, error) {
	runtime.LockOSThread() // the thread's timer slack goes on to the child
	defer runtime.UnlockOSThread()
	restoreLimits()
	run := exec.Command("/proc/self/exe", append([]string{"run", "--detached=" + report, "--name=" + name}, invoked...)...)
	run.Args[0] = "runtime"
	run.Stdout, run.Stderr = output, output
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return run, run.Start()
}

// grantedByFile tells whether the program has its rights again when it is executed again:
// those of root, or of a grant of its file.
func grantedByFile() bool {
	if os.Getuid() == 0 {
		return true
	}
	path, err := os.Executable()
	if err != nil {
		return false
	}
	state, err := grant.Look(path)
	return err == nil && state.Kind != grant.None
}

// namesDescriptor tells whether a flag's file is a descriptor of the caller's.
func (o *options) namesDescriptor() bool {
	return slices.ContainsFunc(append([]string{o.stats, o.status, o.record}, o.envFiles...), func(name string) bool {
		_, is := descriptorOf(name)
		return is
	})
}

// openDetached opens the files of a run that is to begin, and empties them. A run of
// that name that goes on keeps its own.
func openDetached(dir, name string) (output, report *os.File, err error) {
	report, err = os.OpenFile(filepath.Join(dir, name+reportSuffix), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if runs(report) {
		report.Close()
		return nil, nil, fmt.Errorf("%s runs already: `runtime attach %s`", name, name)
	}
	if err = report.Truncate(0); err == nil {
		output, err = os.OpenFile(filepath.Join(dir, name+outputSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	}
	if err != nil {
		report.Close()
	}
	return output, report, err
}

// runs tells whether the run whose report a file gets goes on.
func runs(report *os.File) bool {
	err := unix.Flock(int(report.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		_ = unix.Flock(int(report.Fd()), unix.LOCK_UN)
	}
	return err == unix.EWOULDBLOCK
}

// forgetOld removes the files of runs that have ended long ago.
func forgetOld(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if !strings.HasSuffix(name, reportSuffix) {
			continue
		}
		info, err := os.Lstat(name)
		if err != nil || time.Since(info.ModTime()) < keepReports {
			continue
		}
		if f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0); err == nil {
			if !runs(f) {
				_ = os.Remove(name)
				_ = os.Remove(strings.TrimSuffix(name, reportSuffix) + outputSuffix)
			}
			f.Close()
		}
	}
}

// While the launch works its record is looked for often at first, then less often: it
// may wait for a slot.
const (
	lookForStart = 2 * time.Millisecond
	lookLess     = 100 * time.Millisecond
)

// awaitStarted waits until the run's supervisor answers, which it does when the command
// has been executed. It returns false when the run has ended. Signals go on to it, but
// for those of a terminal's job, which the run is not.
func awaitStarted(h here.Here, name string, signals <-chan os.Signal, run *exec.Cmd, ended <-chan struct{}) bool {
	over := func(pause time.Duration) bool {
		select {
		case <-ended:
			return true
		case s := <-signals:
			if status.Terminates(s) {
				_ = run.Process.Signal(s)
			}
		case <-time.After(pause):
		}
		return false
	}
	for pause := lookForStart; !over(pause); pause = min(pause+pause/4+1, lookLess) {
		if !recorded(h, name, run.Process.Pid) {
			continue
		}
		// It waits until the supervisor listens.
		line, err := client.Call(h, fmt.Sprintf("%d/%s", os.Getuid(), name), nil)
		if err == nil && line.Close() == nil && line.PID == run.Process.Pid {
			return true
		}
		for !over(lookLess) {
		}
		return false
	}
	return false
}

// runsNow tells whether a container of the caller's has a record.
func runsNow(h here.Here, name string) bool { return recorded(h, name, 0) }

// recorded tells whether a container of the caller's has a record, by a certain process
// unless that is 0.
func recorded(h here.Here, name string, pid int) bool {
	var records []state.Record
	_ = access.AsRoot(h, func() (err error) {
		records, err = state.List(h, uint32(os.Getuid()))
		return err
	})
	return slices.ContainsFunc(records, func(r state.Record) bool { return r.Name == name && (pid == 0 || r.PID == pid) })
}

// toldBy ends for a run that has ended already. If its command was executed that is a
// success; else it prints what the run has said.
func toldBy(name string, output *os.File, report string, run *exec.Cmd) (int, error) {
	if r, err := readReport(report); err == nil && slices.Contains([]string{status.ByCommand, status.ByTime, status.ByOutput}, r.Reason) {
		fmt.Fprintln(stdout, name)
		return 0, nil
	}
	if _, err := output.Seek(0, io.SeekStart); err == nil {
		_, _ = io.Copy(os.Stderr, output)
	}
	ws, _ := run.ProcessState.Sys().(syscall.WaitStatus)
	return max(status.EndOf(ws).ExitCode(), 1), nil
}

// maxReport bounds what is read of a report, in bytes.
const maxReport = 4 << 20

// readReport reads the report of a run that has ended.
func readReport(name string) (r status.Report, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReport))
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		return r, errors.New("was killed")
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// openOwn opens the file of --detached and locks it, until this process ends.
func openOwn(name string) (*os.File, error) {
	if os.Geteuid() != os.Getuid() {
		return nil, caller.ErrNotPermitted
	}
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("--detached: %w", err)
	}
	// Others take the lock for a moment, to see whether the run goes on.
	for attempt := 0; ; attempt++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case attempt >= 100:
			f.Close()
			return nil, fmt.Errorf("--detached %s: %w", name, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// endedBefore returns the report of a detached run of the caller's that has ended.
func endedBefore(name string) (r status.Report, known bool) {
	if ref.CheckName("container", name) != nil {
		return r, false // as OWNER/NAME
	}
	err := withDetached(name, func(_, report *os.File) (err error) {
		if runs(report) {
			return errors.New("runs")
		}
		r, err = readReport(report.Name())
		return err
	})
	return r, err == nil
}

// endsSoon waits for a detached run that ends, and has no record any more, to write its
// report.
func endsSoon(name string) (r status.Report, known bool) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(lookLess) {
		if r, known = endedBefore(name); known {
			return r, true
		}
		if err := withDetached(name, func(_, report *os.File) error {
			if !runs(report) {
				return errors.New("ended")
			}
			return nil
		}); err != nil {
			break
		}
	}
	return endedBefore(name)
}
