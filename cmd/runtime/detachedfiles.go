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

// sameFile tells whether a name still is that of an open file.
func sameFile(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(opened, named)
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
		if f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
			if !runs(f) {
				_ = forget(dir, strings.TrimSuffix(entry.Name(), reportSuffix))
			}
			f.Close()
		}
	}
}

// forget removes the files of a run.
func forget(dir, name string) error {
	var errs []error
	for _, suffix := range []string{heldSuffix, reportSuffix, outputSuffix, locationSuffix} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name+suffix)))
	}
	return errors.Join(errs...)
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
		case err == nil && sameFile(f, name):
			return f, nil
		case err == nil: // see release
			f.Close()
			return nil, errors.New("--detached: the run was ended before it began")
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
