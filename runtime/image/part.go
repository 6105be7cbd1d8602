package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/lock"
)

// A Part is a file that is being downloaded into the store. It stays when this process
// ends, so that another one can go on. Its holder must Close it.
type Part struct {
	File *os.File // owned by the Part
	dir  int      // the run directory
	name string
	done bool // nobody needs it any more
}

// partPrefix starts the names of unfinished downloads in the run directory.
const partPrefix = ".part-"

// partKept is how long an unfinished download stays that nobody goes on with.
const partKept = 7 * 24 * time.Hour

// OpenPart opens an unfinished download, or a new one. sum is the checksum of the whole
// file, in hex, by which another process finds it. Nobody else writes to it meanwhile.
func (s *Store) OpenPart(sum string) (*Part, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	p := &Part{dir: dir, name: partPrefix + sum}
	fd, err := unix.Openat(dir, p.name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		taken, there := false, false
		if taken, err = lock.TryTurn(fd); err == nil {
			there, err = stillThere(dir, p.name, fd) // or a collector has just removed it
		}
		if err == nil && taken && there {
			p.File = os.NewFile(uintptr(fd), p.name)
			return p, nil
		}
		if err == nil {
			err = errors.New("another process is at work on it: try again when it has ended")
		}
		unix.Close(fd)
	}
	unix.Close(dir)
	return nil, fmt.Errorf("download to %s: %w", s.Spool(), err)
}

// Read reads the whole file.
func (p *Part) Read(b []byte) (int, error) {
	n, err := p.File.Read(b)
	p.done = p.done || err == io.EOF
	return n, err
}

// Empty throws away what is there.
func (p *Part) Empty() error {
	_, err := p.File.Seek(0, io.SeekStart)
	return errors.Join(err, p.File.Truncate(0))
}

// Drop has Close remove the file, which is not what it should be.
func (p *Part) Drop() { p.done = true }

// Close closes the file, and removes it if it was read to its end.
func (p *Part) Close() error {
	var err error
	if p.done {
		if err = unix.Unlinkat(p.dir, p.name, 0); err == unix.ENOENT {
			err = nil
		}
	}
	return errors.Join(err, p.File.Close(), unix.Close(p.dir))
}

// collectPart removes a download with which nobody has gone on for long.
func collectPart(dir int, name string) (gone bool, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return told(name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || time.Since(time.Unix(st.Mtim.Unix())) < partKept {
		return false, err
	}
	if taken, err := lock.TryTurn(fd); err != nil || !taken {
		return false, err
	}
	return told(name, unix.Unlinkat(dir, name, 0))
}
