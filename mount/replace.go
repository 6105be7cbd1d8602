package mount

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// A Replacement puts a small file, or a symbolic link, in the place of what has the
// name, in one step, and can take it back. Where KeepOld is set, what was there stays
// beside it meanwhile, so that a later process can take it back too.
type Replacement struct {
	Name    string // in the root
	Content string // of a file of mode 0644
	Link    string // instead of a file: what a symbolic link says
	KeepOld bool

	made unix.Stat_t // valid after Put
}

// aside is the name of what was there, and of what is being made.
func (p *Replacement) aside(kind string) string { return "." + path.Base(p.Name) + ".mayfly-" + kind }

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
	base, fresh, old := path.Base(p.Name), p.aside("new"), p.aside("old")
	if err := unix.Unlinkat(dir, fresh, 0); err != nil && err != unix.ENOENT { // of a process that was killed
		return err
	}
	if err := p.make(dir, fresh); err != nil {
		return err
	}
	err := unix.Fstatat(dir, fresh, &p.made, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && p.KeepOld {
		err = unix.Renameat2(dir, base, dir, old, unix.RENAME_NOREPLACE)
		if err == unix.EEXIST || err == unix.ENOENT { // kept by a process that was killed, or nothing to keep
			err = nil
		}
	}
	if err == nil {
		err = unix.Renameat(dir, fresh, dir, base)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(dir, fresh, 0))
	}
	return nil
}

func (p *Replacement) make(dir int, name string) error {
	if p.Link != "" {
		return symlinkat(p.Link, dir, name)
	}
	fd, err := openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, []byte(p.Content))
	if err == nil && n < len(p.Content) {
		err = unix.ENOSPC
	}
	return errors.Join(err, closeFD(fd))
}

// TakeBack puts back what was there before a Put with KeepOld, in the root or in
// another mount of it. What somebody else has put there since, or changed, stays.
func (r Root) TakeBack(p *Replacement) error {
	if p.made.Ino == 0 {
		return nil
	}
	dir, err := r.Open(path.Dir(p.Name), unix.O_PATH|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("put %s back: %w", p.Name, err)
	}
	defer closeFD(dir)
	if err := p.takeBack(dir); err != nil && err != unix.ENOENT {
		return fmt.Errorf("put %s back: %w", p.Name, err)
	}
	return nil
}

func (p *Replacement) takeBack(dir int) error {
	base, old := path.Base(p.Name), p.aside("old")
	var now unix.Stat_t
	if err := unix.Fstatat(dir, base, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil || !p.same(now) {
		return unix.Unlinkat(dir, old, 0)
	}
	err := unix.Renameat(dir, old, dir, base)
	if err == unix.ENOENT { // there was nothing
		err = unix.Unlinkat(dir, base, 0)
	}
	return err
}

// same tells whether a file is still what Put has made.
func (p *Replacement) same(now unix.Stat_t) bool {
	return now.Ino == p.made.Ino && now.Mode == p.made.Mode && now.Size == p.made.Size && now.Mtim == p.made.Mtim
}
