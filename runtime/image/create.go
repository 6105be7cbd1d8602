package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/personality"
)

// A Bootstrap says how to fill an image with a Debian release.
type Bootstrap struct {
	Suite   string
	Arch    string // Debian's name
	Variant string
	Include []string
	Mirror  string
	Output  io.Writer // progress of the program
}

// HostArch is Debian's name of the machine.
func HostArch() string {
	for _, name := range personality.Names() {
		if a, err := personality.ByName(name); err == nil && a.Debian == goruntime.GOARCH {
			return a.Debian
		}
	}
	return goruntime.GOARCH
}

func (b Bootstrap) check() error {
	if b.Suite == "" {
		return errors.New("no --suite given")
	}
	for _, word := range append([]string{b.Suite, b.Arch, b.Variant, b.Mirror}, b.Include...) {
		if word == "" || word[0] == '-' || strings.ContainsAny(word, " \t\n\x00") {
			return fmt.Errorf("%q is not a word that mmdebstrap or debootstrap could take", word)
		}
	}
	return nil
}

// programs are the bootstrap programs, the quicker one first.
var programs = []struct {
	name      string
	arguments func(b Bootstrap, directory string) []string
}{
	{"mmdebstrap", func(b Bootstrap, directory string) []string {
		return append(b.common("--architectures="), b.Suite, directory, b.Mirror)
	}},
	{"debootstrap", func(b Bootstrap, directory string) []string {
		return append(b.common("--arch="), b.Suite, directory, b.Mirror)
	}},
}

func (b Bootstrap) common(arch string) []string {
	arguments := []string{arch + b.Arch, "--variant=" + b.Variant}
	if len(b.Include) > 0 {
		arguments = append(arguments, "--include="+strings.Join(b.Include, ","))
	}
	return arguments
}

// Create makes an image. It is filled in the run directory, under a lock as a
// container's snapshot is, and gets its name when it is whole: an interrupted
// creation, even by SIGKILL, leaves nothing that a collector would not remove.
func (s *Store) Create(ctx context.Context, name string, b Bootstrap) error {
	if err := errors.Join(CheckName("image", name), b.check()); err != nil {
		return err
	}
	if err := s.CheckBTRFS(); err != nil {
		return err
	}
	if err := unix.Faccessat(s.fd, name, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return fmt.Errorf("image %s exists in %s: `runtime image remove %s` removes it", name, s.Path, name)
	}
	dir, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return s.createIn(ctx, dir, name, b)
}

func (s *Store) createIn(ctx context.Context, dir int, name string, b Bootstrap) (err error) {
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return fmt.Errorf("random number: %w", err)
	}
	draft := "new-" + hex.EncodeToString(random[:])
	if err := btrfs.Create(dir, draft); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, deleteTree(dir, draft))
		}
	}()
	fd, err := claim(dir, draft)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o755); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if err := bootstrap(ctx, filepath.Join(s.Path, runDirectory, draft), b); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if err := makeMountPoints(fd); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if err := unix.Renameat2(dir, draft, s.fd, name, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("name image %s: %w", name, err)
	}
	return btrfs.Sync(s.fd)
}

// bootstrap runs the first program that is installed. When we are interrupted it gets
// a SIGTERM, to unmount what it has mounted, and time for it; when we are killed, too.
func bootstrap(ctx context.Context, directory string, b Bootstrap) error {
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, p.arguments(b, directory)...)
		cmd.Stdout, cmd.Stderr = b.Output, b.Output
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 20 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		goruntime.LockOSThread() // it is this thread whose death sends the signal
		err = cmd.Run()
		goruntime.UnlockOSThread()
		if err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted, nothing is left of it")
			}
			return fmt.Errorf("%s failed (%w), nothing is left of it", p.name, err)
		}
		return nil
	}
	return errors.New("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")
}

// mountPoints are files and directories that a launch mounts on. Where an image
// has them already, no launch needs to make them in its snapshot.
var mountPoints = struct{ directories, files []string }{
	[]string{"/dev", "/home", "/opt", "/proc", "/run", "/sys", "/tmp", "/var/tmp"},
	[]string{"/etc/group", "/etc/hostname", "/etc/hosts", "/etc/localtime", "/etc/passwd", "/etc/resolv.conf"},
}

// deleteTree deletes a subvolume, and first those that were made inside it.
func deleteTree(dir int, name string) error {
	err := btrfs.Delete(dir, name)
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	nested, walk := subvolumesIn(dir, name)
	if walk != nil {
		return errors.Join(err, walk)
	}
	for _, one := range nested {
		parent, err := openDirectory(dir, filepath.Dir(one))
		if err != nil {
			return fmt.Errorf("open %s: %w", filepath.Dir(one), err)
		}
		err = btrfs.Delete(parent, filepath.Base(one))
		unix.Close(parent)
		if err != nil {
			return err
		}
	}
	return btrfs.Delete(dir, name)
}

// subvolumesIn finds the subvolumes below one, innermost first. It never follows
// a symbolic link: os.Root refuses to leave the directory.
func subvolumesIn(dir int, name string) ([]string, error) {
	var found []string
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), name, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == name {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Sys().(*syscall.Stat_t).Ino == btrfs.FirstFreeObjectID {
			found = append([]string{path}, found...)
		}
		return nil
	})
	return found, err
}
