package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/status"
)

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

// makeDetachedDirectory makes it where it is missing.
func makeDetachedDirectory() (string, error) {
	dir, err := detachedDirectory()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	return dir, err
}

// sameFile tells whether a name still is that of an open file.
func sameFile(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// errRuns means that a run of that name goes on.
var errRuns = errors.New("runs already")

// attemptsToLock is how often a lock is tried: others take it for a moment, to see whether
// the run goes on.
const attemptsToLock = 20

// lockReport opens the report of a run that is to begin, and empties it. The file is
// locked as long as a process has it open: this one, and those that are executed with it.
func lockReport(dir, name, suffix string) (*os.File, error) {
	path := filepath.Join(dir, name+suffix)
	for attempt := 1; ; attempt++ {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil && sameFile(f, path):
			if err = f.Truncate(0); err == nil {
				return f, nil
			}
		case attempt < attemptsToLock && (err == nil || err == unix.EWOULDBLOCK):
			f.Close()
			time.Sleep(10 * time.Millisecond)
			continue
		case err == nil, err == unix.EWOULDBLOCK:
			err = fmt.Errorf("%s %w: `runtime attach %s`", name, errRuns, name)
		}
		f.Close()
		return nil, err
	}
}

// openOutput opens the file for the output of a run that is to begin, and empties it.
func openOutput(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name+outputSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
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
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < keepReports {
			continue
		}
		for _, suffix := range []string{reportSuffix, heldSuffix} {
			name, is := strings.CutSuffix(entry.Name(), suffix)
			if !is || ref.CheckName("container", name) != nil {
				continue
			}
			if f, err := os.OpenFile(filepath.Join(dir, entry.Name()), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
				_, _ = forgetEnded(dir, name, suffix, f)
				f.Close()
			}
		}
	}
}

// forgetEnded removes the files of a run whose report is open here, if it has ended.
// Meanwhile no other of that name begins. The report goes last.
func forgetEnded(dir, name, suffix string, report *os.File) (ended bool, err error) {
	path := filepath.Join(dir, name+suffix)
	if err := unix.Flock(int(report.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if !sameFile(report, path) {
		return true, nil // somebody else has removed it
	}
	return true, errors.Join(os.RemoveAll(filepath.Join(dir, name+locationSuffix)), os.RemoveAll(filepath.Join(dir, name+outputSuffix)), os.Remove(path))
}

// maxReport bounds what is read of a report, in bytes.
const maxReport = 4 << 20

// readReport reads the report of a run that has ended.
func readReport(name string) (r status.Report, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	return parseReport(f)
}

func parseReport(f *os.File) (r status.Report, err error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxReport))
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		return r, errors.New("was killed")
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// openOwn opens the descriptor of --detached: the report, which is locked.
func openOwn(name string) (*os.File, error) {
	if os.Geteuid() != os.Getuid() {
		return nil, caller.ErrNotPermitted
	}
	if _, is := descriptorOf(name); !is {
		return nil, fmt.Errorf("--detached %s: want a descriptor", name)
	}
	return openFile(name, os.O_RDWR, 0)
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
