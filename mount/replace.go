package mount

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// A Replacement puts a small file, or a symbolic link, in the place of what has the
// name, in one step. What was there can stay beside it: to be put back, by a later
// process too; or so that a later Replacement knows that there was an earlier one.
type Replacement struct {
	Name        string // in the root
	Content     string // of a file of mode 0644
	Link        string // instead of a file: what a symbolic link says
	KeepOld     bool   // to be put back
	KeepChanged bool   // what somebody has changed since an earlier one stays

	made unix.Stat_t // zero: nothing was put
	dir  int         // where it was put, in the root of TakeBack; 0: none
}

// ours is the modification time by which what a Replacement has made is known: nobody
// who writes to a file leaves it that.
var ours = unix.Timespec{Sec: 978307200, Nsec: 7168377}

// old is the name of what was there.
func (p *Replacement) old() string { return "." + path.Base(p.Name) + ".mayfly-old" }

// Put makes it, with the directories above it. The root must be the root of a mount
// that nothing is mounted on. Somebody who changes the tree meanwhile can choose which
// of its directories the file comes into.
func (r Root) Put(p *Replacement) error {
	dir, err := r.directoryOf(p.Name)
	if err != nil {
		return fmt.Errorf("replace %s: %w", p.Name, err)
	}
	defer closeFD(dir)
	if err := p.put(dir); err != nil {
		return fmt.Errorf("replace %s: %w", p.Name, err)
	}
	return nil
}

func (r Root) directoryOf(name string) (int, error) {
	above := path.Dir(name)
	dir, err := r.Open(above, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT {
		return dir, err
	}
	here, err := place(r.fd)
	if err == nil {
		_, err = r.Create(above, true, here.MountID)
	}
	if err != nil {
		return -1, err
	}
	return r.Open(above, unix.O_PATH|unix.O_DIRECTORY)
}

func (p *Replacement) put(dir int) error {
	if p.KeepOld || p.KeepChanged {
		changed, err := p.keep(dir)
		if err != nil || changed && p.KeepChanged {
			return err
		}
	}
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return err
	}
	fresh := "." + path.Base(p.Name) + ".mayfly-" + hex.EncodeToString(random[:])
	err := p.make(dir, fresh)
	if err == nil {
		err = unix.Renameat(dir, fresh, dir, path.Base(p.Name))
	}
	if err != nil {
		return errors.Join(err, unlessMissing(unix.Unlinkat(dir, fresh, 0)))
	}
	return nil
}

// keep moves what is there aside, unless an earlier process has done that. changed tells
// that somebody has put something else there since.
func (p *Replacement) keep(dir int) (changed bool, err error) {
	var now, old unix.Stat_t
	err = unix.Fstatat(dir, p.old(), &old, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err != nil && err != unix.ENOENT:
		return false, err
	case err == nil && old.Mode&unix.S_IFMT == unix.S_IFDIR:
		return false, fmt.Errorf("%s: %w", p.old(), unix.EISDIR)
	}
	kept := err == nil
	err = unix.Fstatat(dir, path.Base(p.Name), &now, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err != nil && err != unix.ENOENT:
		return false, err
	case err == nil && now.Mtim == ours || kept:
		return err == nil && now.Mtim != ours, nil
	case err == nil:
		err = unix.Renameat2(dir, path.Base(p.Name), dir, p.old(), unix.RENAME_NOREPLACE)
	case p.KeepChanged: // that there was nothing is to be known, too
		err = touch(dir, p.old())
	default:
		return false, nil
	}
	if err == unix.EEXIST || err == unix.ENOENT { // another process was quicker
		err = nil
	}
	return false, err
}

func unlessMissing(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func (p *Replacement) make(dir int, name string) error {
	err := p.write(dir, name)
	if err == nil {
		err = unix.UtimesNanoAt(dir, name, []unix.Timespec{ours, ours}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Fstatat(dir, name, &p.made, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

func (p *Replacement) write(dir int, name string) error {
	if p.Link != "" {
		return symlinkat(p.Link, dir, name)
	}
	fd, err := openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	return writeAndClose(fd, p.Content)
}

// Remember opens the directory that Put has used, in another mount of the root, for
// TakeBack, before somebody can move it.
func (r Root) Remember(p *Replacement) (err error) {
	p.dir, err = r.Open(path.Dir(p.Name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		p.dir = 0
		return fmt.Errorf("remember where %s is: %w", p.Name, err)
	}
	return nil
}

// TakeBack puts back what was there before a Put with KeepOld, and forgets it. What
// somebody else has put there since, or changed, stays.
func (p *Replacement) TakeBack() error {
	if p.dir == 0 {
		return nil
	}
	err := p.takeBack(p.dir)
	closeFD(p.dir)
	p.dir = 0
	if err != nil && err != unix.ENOENT && err != unix.EISDIR { // a directory is somebody else's
		return fmt.Errorf("put %s back: %w", p.Name, err)
	}
	return nil
}

func (p *Replacement) takeBack(dir int) error {
	base := path.Base(p.Name)
	var now unix.Stat_t
	if err := unix.Fstatat(dir, base, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil || !p.same(now) {
		return unix.Unlinkat(dir, p.old(), 0)
	}
	err := unix.Renameat(dir, p.old(), dir, base)
	if err == unix.ENOENT { // there was nothing
		err = unix.Unlinkat(dir, base, 0)
	}
	return err
}

// same tells whether a file is still what Put has made.
func (p *Replacement) same(now unix.Stat_t) bool {
	return now.Ino == p.made.Ino && now.Mode == p.made.Mode && now.Size == p.made.Size && now.Mtim == ours
}
