package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"mayfly/runtime/client"
	"mayfly/runtime/grant"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/status"
)

// A detached run (--detach) is a process of its own, in a session of its own: the
// program executed again with the same arguments, and --detached before them. It writes
// to two files in the caller's directory of such runs: NAME.log has its output, NAME.json
// gets its report at the end, and is locked (flock(2)) until then: the lock is of the open
// file, which goes from process to process. A session of
// schroot's has an empty directory NAME.root, too. All of it is done with the caller's
// rights.

const (
	outputSuffix = ".log"
	reportSuffix = ".json"
	// heldSuffix is in its place for a held container (held.go). locationSuffix ends the
	// name of a directory (schrootsession.go).
	heldSuffix     = ".held"
	locationSuffix = ".root"
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
		name = nameFor(o.image + o.session)
	}
	if err := ref.CheckName("container", name); err != nil {
		return exit(err)
	}
	dir, err := makeDetachedDirectory()
	if err != nil {
		return exit(err)
	}
	forgetOld(dir)
	report := o.report
	switch {
	case report != nil:
	case o.held:
		report, err = openOwn(passedReport)
	default:
		report, err = lockReport(dir, name, reportSuffix)
	}
	if err != nil {
		return exit(err)
	}
	defer report.Close()
	output, err := openOutput(dir, name)
	if err != nil {
		return exit(err)
	}
	defer output.Close()
	run, err := startDetached(name, report, output)
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
	return toldBy(name, output, report, run)
}

// nameFor makes a name for a container of an image or session.
func nameFor(image string) string {
	return fmt.Sprintf("%.40s-%016x", nameOfImage(image), rand.Uint64())
}

// passedReport is where a program that is executed again finds the locked report.
const passedReport = "/dev/fd/3"

// startDetached executes the program again.
func startDetached(name string, report, output *os.File) (*exec.Cmd, error) {
	run := itself("runtime", append([]string{"run", "--detached=" + passedReport, "--name=" + name}, invoked...)...)
	run.Stdout, run.Stderr = output, output
	run.ExtraFiles = []*os.File{report}
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return run, startAsCalled(run)
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
	r, is, _ := recordOf(h, name)
	return is && (pid == 0 || r.PID == pid)
}

// toldBy ends for a run that has ended already. If its command was executed that is a
// success; else it prints what the run has said.
func toldBy(name string, output, report *os.File, run *exec.Cmd) (int, error) {
	if r, err := parseReport(report); err == nil && slices.Contains([]string{status.ByCommand, status.ByTime, status.ByOutput}, r.Reason) {
		fmt.Fprintln(stdout, name)
		return 0, nil
	}
	if _, err := output.Seek(0, io.SeekStart); err == nil {
		_, _ = io.Copy(os.Stderr, output)
	}
	ws, _ := run.ProcessState.Sys().(syscall.WaitStatus)
	return max(status.EndOf(ws).ExitCode(), 1), nil
}
