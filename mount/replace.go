package mount

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// A Replacement is a small file, or a symbolic link, that Root.Put puts in the place of
// what has its name, by one rename(2). Put can keep what was there, as a file beside it
// (".NAME.mayfly-old"). With that TakeBack puts it back, in this process or a later
// one, and a later Put knows that there was an earlier one.
type Replacement struct {
	Name    string // path in the root
	Content string // of the file, whose mode is 0644 less the umask
	Link    string // text of a symbolic link, which takes the place of the file; "": none
	// KeepOld: what is there is kept, for TakeBack.
	KeepOld bool
	// KeepChanged: where another process has changed what an earlier Put has made, that
	// stays, and nothing is put.
	KeepChanged bool

	made unix.Stat_t // of what Put made; zero: it has made nothing
	dir  int         // the directory of Name, open, for TakeBack; 0: none
}

// ours is the modification time of all that a Replacement makes, and by which it is
// known: a program that writes to the file changes it. Nothing writes to the variable.
var ours = unix.Timespec{Sec: 978307200, Nsec: 7168377}

// old is the name of the file that keeps what was there.
func (p *Replacement) old() string { return "." + path.Base(p.Name) + ".mayfly-old" }

// Put puts a Replacement in its place, and makes the directories above it that are
// missing. The root must be the root of a mount on which nothing else is mounted. The
// thread needs to be allowed to write to the directory, and no capability for it.
//
// A process that changes the tree meanwhile can choose the directory of the root in
// which the file is put, and nothing outside the root.
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

// directoryOf opens the directory of a name, and makes it where it is missing.
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

// put makes the file under a random name, in an open directory, and renames it.
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

// keep renames what is there to old, unless an earlier Put has done that. changed tells
// that what is there is not what that Put has made.
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
	case p.KeepChanged: // an empty file tells later that there was nothing
		err = touch(dir, p.old())
	default:
		return false, nil
	}
	if err == unix.EEXIST || err == unix.ENOENT { // another process has done it meanwhile
		err = nil
	}
	return false, err
}

// unlessMissing makes success of the error that a file is not there.
func unlessMissing(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// make makes the file or symbolic link under a name, with the time ours.
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

// Remember opens the directory in which Put has put the Replacement, for TakeBack. The
// root may be another mount of the tree than that of Put: one to which TakeBack may
// write. It is called before the command runs, which could move the directory. The
// Replacement owns the descriptor until TakeBack.
func (r Root) Remember(p *Replacement) (err error) {
	p.dir, err = r.Open(path.Dir(p.Name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		p.dir = 0
		return fmt.Errorf("remember where %s is: %w", p.Name, err)
	}
	return nil
}

// TakeBack puts back what Put has kept, in the directory of Remember, which it closes;
// without Remember it does nothing. What another process has put there since, or has
// changed, stays, and what Put has kept is removed. The thread needs to be allowed to
// write to the directory.
func (p *Replacement) TakeBack() error {
	if p.dir == 0 {
		return nil
	}
	err := p.takeBack(p.dir)
	closeFD(p.dir)
	p.dir = 0
	if err != nil && err != unix.ENOENT && err != unix.EISDIR { // Put makes no directory
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

// same tells whether a file is what Put has made, unchanged.
func (p *Replacement) same(now unix.Stat_t) bool {
	return now.Ino == p.made.Ino && now.Mode == p.made.Mode && now.Size == p.made.Size && now.Mtim == ours
}
