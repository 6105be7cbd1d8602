package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// A scratch is a private tmpfs on the thread's copy of the host's /dev. A launch builds
// there what does not need the root file system: /dev, /proc and /sys with everything
// mounted in them, and the container's own small files. The supervisor makes the
// snapshot meanwhile. The scratch is detached with the old root by Pivot.
type scratch struct {
	tree mount.Tree
	// Own is what was made for this container, or taken from the host for its /dev, by
	// destination.
	Own map[string]mount.Tree
}

// ScratchCapabilities are what BuildScratch needs: CAP_SYS_ADMIN mounts, CAP_SETUID and
// CAP_SETGID are for making the user's directory in /run with their ids.
const ScratchCapabilities = privilege.SysAdmin | privilege.SetIDs

// BuildScratch makes the scratch and everything on it. It needs Init, and the sources
// that OpenSources has opened.
func (b *Builder) BuildScratch() error {
	tree, err := mount.New("tmpfs", []string{"mode=0755", "size=4m"}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return err
	}
	b.made.add(tree)
	b.Scratch = &scratch{tree: tree, Own: map[string]mount.Tree{}}
	// The host's /dev exists: device nodes were just taken from it.
	if err := tree.AttachTo("/dev"); err != nil {
		return err
	}
	for _, dir := range []string{"root", "dev", "proc", "sys", hiddenDir, "files"} {
		if err := tree.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := tree.Touch(hiddenFile); err != nil {
		return err
	}
	for i, f := range b.Plan.Files {
		tree, err := b.Scratch.file(strconv.Itoa(i), f.Content)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		b.made.add(tree)
		b.Scratch.Own[f.Path] = tree
	}
	// procfs comes last: PID 1 makes it, and needs a moment to begin.
	for _, proc := range []bool{false, true} {
		for _, m := range b.Plan.Spec.Mounts {
			if m.Type == plan.OnDisk || m.Type == "bind" && !plan.OnScratch(m.Destination) || (m.Type == "proc") != proc {
				continue
			}
			if err := b.makeFilesystem(m); err != nil {
				return err
			}
		}
	}
	return b.hidePaths()
}

// makeFilesystem makes a file system of the plan's mounts, or takes the bind in its
// place. It is attached on the scratch if it belongs in /dev, /proc or /sys.
func (b *Builder) makeFilesystem(m specs.Mount) error {
	tree, ok := b.sources.binds[m.Destination]
	if !ok {
		var err error
		if tree, err = b.newFilesystem(m); err != nil {
			return err
		}
		b.made.add(tree)
	}
	b.Scratch.Own[m.Destination] = tree
	if m.Destination == "/run" {
		return b.populateRun(tree)
	}
	if !plan.OnScratch(m.Destination) {
		return nil
	}
	if err := b.Scratch.attach(tree, m.Destination); err != nil {
		return err
	}
	if m.Destination == "/dev" {
		return b.populateDev(tree)
	}
	return nil
}

// newFilesystem returns a detached mount, which the caller must close. procfs comes
// from PID 1, since it shows the PID namespace of its maker.
func (b *Builder) newFilesystem(m specs.Mount) (mount.Tree, error) {
	options := mount.ParseOptions(m.Options)
	if m.Type == "proc" {
		fd, err := b.Init.Proc()
		return mount.TreeFromFD(fd), err
	}
	set := options.Set
	if m.Destination == "/dev" {
		set &^= unix.MOUNT_ATTR_RDONLY // it is read-only after populateDev
	}
	return mount.New(m.Type, append(options.Data, "source="+m.Source), set)
}

// attach attaches a tree on the scratch.
func (s *scratch) attach(tree mount.Tree, destination string) error {
	err := s.with(destination, func(_ int, _ string, attach func(mount.Tree) error) error { return attach(tree) })
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	return nil
}

// with calls f with a place on the scratch: as a name below a directory, or as an open
// directory or file and the name "". attach attaches a tree there. A path deep in a
// file system may lead over symbolic links, such as /dev/fd and those of procfs, which
// are not to lead out of the scratch: so what it leads to is opened. A path in the
// scratch itself, or in the root of a file system on it, leads over none.
func (s *scratch) with(path string, f func(dir int, name string, attach func(mount.Tree) error) error) error {
	name := relative(path)
	if strings.Count(name, "/") <= 1 {
		return f(s.tree.FD(), name, func(t mount.Tree) error { return t.AttachIn(s.tree, name) })
	}
	target, err := mount.RootAt(s.tree.FD()).Name(name)
	if err != nil {
		return orMissing(err)
	}
	if err := f(target.FD(), "", func(t mount.Tree) error { return t.Attach(target) }); err != nil {
		target.Close()
		return err
	}
	return target.Close()
}

// errMissing means that a path was not there when it was looked up. No later step
// returns it: nothing that is there stays uncovered.
var errMissing = errors.New("is not there")

// orMissing makes errMissing of the error of a lookup, if it tells that.
func orMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return errMissing
	}
	return err
}

// relative makes a path of the container one that is relative to its root directory,
// and does not lead out of it by "..".
func relative(destination string) string { return path.Clean("/" + destination)[1:] }

func (s *scratch) attachRoot(tree mount.Tree) error { return s.attach(tree, "/root") }

// bindNode attaches a tree whose root is a device node, and keeps it in Own.
func (s *scratch) bindNode(tree mount.Tree, destination string) error {
	s.Own[destination] = tree
	return s.attach(tree, destination)
}

// BindTerminal mounts a terminal of the container's devpts on its /dev/console, after
// MountAll. The thread needs CAP_SYS_ADMIN.
func (b *Builder) BindTerminal(number int) error {
	tree, err := mount.Clone(b.Scratch.Own["/dev/pts"].FD(), strconv.Itoa(number), false)
	if err != nil {
		return err
	}
	return errors.Join(tree.AttachIn(b.Scratch.Own["/dev"], "console"), tree.Close())
}

// hidePaths covers the plan's masked paths with the null device or an empty directory,
// and makes its read-only paths read-only. A path that this kernel does not have is
// left out.
func (b *Builder) hidePaths() error {
	for source, name := range map[string]string{"/dev/null": hiddenFile, hiddenDir: hiddenDir} {
		if err := b.Scratch.stamp(source, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Concat(b.Plan.Spec.Linux.MaskedPaths, b.Plan.Spec.Linux.ReadonlyPaths) {
		if !plan.OnScratch(name) {
			return fmt.Errorf("%s: not in %s, so it cannot be masked or made read-only", name, strings.Join(plan.OwnFilesystems, ", "))
		}
	}
	var covers held
	defer covers.close()
	for _, name := range b.Plan.Spec.Linux.MaskedPaths {
		if err := b.Scratch.mask(&covers, name); err != nil && err != errMissing {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	for _, name := range b.Plan.Spec.Linux.ReadonlyPaths {
		if err := b.Scratch.makeReadOnly(&covers, name); err != nil && err != errMissing {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	return nil
}

// Names on the scratch of what covers masked paths.
const hiddenFile, hiddenDir = "hidden", "empty"

// stamp mounts a copy of the mount at source on a name of the scratch, with the
// attributes that copies of it are to have. It is attached, since the kernel copies a
// detached mount only from Linux 6.15 on.
func (s *scratch) stamp(source, name string) error {
	const hidden = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSUID
	tree, err := mount.Copy{Set: hidden}.Of(s.tree.FD(), relative(source))
	if err != nil {
		return err
	}
	return errors.Join(s.attach(tree, name), tree.Close())
}

// mask mounts a copy of a stamp on a path of the scratch. It adds the copy to a list,
// which the caller closes. errMissing: there is no such path.
func (s *scratch) mask(covers *held, name string) error {
	return s.with(name, func(dir int, name string, attach func(mount.Tree) error) error {
		place, err := mount.PlaceOf(dir, name)
		if err != nil {
			return orMissing(err)
		}
		with := hiddenFile
		if place.IsDir {
			with = hiddenDir
		}
		tree, err := mount.Clone(s.tree.FD(), with, false)
		if err != nil {
			return err
		}
		covers.add(tree)
		return attach(tree)
	})
}

// makeReadOnly mounts a read-only copy of a path of the scratch on it, as mask does.
func (s *scratch) makeReadOnly(covers *held, name string) error {
	return s.with(name, func(dir int, name string, attach func(mount.Tree) error) error {
		tree, err := mount.Copy{NoFollow: true, Set: unix.MOUNT_ATTR_RDONLY}.Of(dir, name)
		if err != nil {
			return orMissing(err)
		}
		covers.add(tree)
		return attach(tree)
	})
}

// file writes a new small file and returns a read-only mount of it, which the caller
// must close.
func (s *scratch) file(name, content string) (mount.Tree, error) {
	name = "files/" + name
	if err := s.tree.WriteFile(name, content); err != nil {
		return mount.Tree{}, err
	}
	return mount.Copy{Set: unix.MOUNT_ATTR_RDONLY}.Of(s.tree.FD(), name)
}
