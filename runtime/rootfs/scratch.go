package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// ScratchInRoot returns a scratch whose paths are resolved in the container's root,
// where /dev is after MountAll.
func (b *Builder) ScratchInRoot() *scratch {
	return &scratch{root: mount.RootAt(b.tree.FD())}
}

// A scratch is a private tmpfs on the thread's copy of the host's /dev. A launch builds
// there what does not need the root file system: /dev, /proc and /sys with everything
// mounted in them, and the container's own small files. The supervisor makes the
// snapshot meanwhile. The scratch is detached with the old root by Pivot.
type scratch struct {
	tree mount.Tree
	root mount.Root
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
	b.Undo.add(tree.Close)
	b.Scratch = &scratch{tree: tree, root: mount.RootAt(tree.FD()), Own: map[string]mount.Tree{}}
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
		b.Undo.add(tree.Close)
		b.Scratch.Own[f.Path] = tree
	}
	// procfs comes last: PID 1 makes it, and needs a moment to begin.
	for _, proc := range []bool{false, true} {
		for _, m := range b.Plan.Spec.Mounts {
			if m.Type == "bind" && !plan.OnScratch(m.Destination) || (m.Type == "proc") != proc {
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
		b.Undo.add(tree.Close)
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

func (s *scratch) attach(tree mount.Tree, destination string) error {
	target, err := s.root.Dir(destination)
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	defer target.Close()
	return tree.Attach(target)
}

func (s *scratch) attachRoot(tree mount.Tree) error { return s.attach(tree, "/root") }

// bindFile attaches a tree whose root is a file, or a directory of the scratch.
func (s *scratch) bindFile(tree mount.Tree, destination string) error {
	target, err := s.root.Name(destination)
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	defer target.Close()
	return tree.Attach(target)
}

// bindNode attaches a tree whose root is a device node, and keeps it in Own.
func (s *scratch) bindNode(tree mount.Tree, destination string) error {
	s.Own[destination] = tree
	return s.bindFile(tree, destination)
}

// CloneOnto mounts a copy of the mount at source on destination, both names in the
// scratch. The thread needs CAP_SYS_ADMIN.
func (s *scratch) CloneOnto(source, destination string) error {
	from, err := s.root.Name(source)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	defer from.Close()
	tree, err := mount.Clone(from.FD(), "", false)
	if err != nil {
		return err
	}
	defer tree.Close()
	return s.bindFile(tree, destination)
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
	for _, name := range b.Plan.Spec.Linux.MaskedPaths {
		err := b.Scratch.cover(name, func(_ mount.Target, isDir bool) (mount.Tree, error) {
			if isDir {
				return mount.Clone(b.Scratch.tree.FD(), hiddenDir, false)
			}
			return mount.Clone(b.Scratch.tree.FD(), hiddenFile, false)
		})
		if err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	for _, name := range b.Plan.Spec.Linux.ReadonlyPaths {
		if err := b.Scratch.cover(name, readOnlyCopy); err != nil {
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
	from, err := s.root.Name(source)
	if err != nil {
		return err
	}
	defer from.Close()
	tree, err := mount.Clone(from.FD(), "", false)
	if err != nil {
		return err
	}
	defer tree.Close()
	const hidden = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSUID
	if err := tree.SetAttrs(hidden, 0, false); err != nil {
		return err
	}
	return s.bindFile(tree, name)
}

// cover calls with for a path and mounts the result there. A missing path is left out.
func (s *scratch) cover(name string, with func(target mount.Target, isDir bool) (mount.Tree, error)) error {
	target, err := s.root.Name(name)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer target.Close()
	place, err := target.Place()
	if err != nil {
		return err
	}
	tree, err := with(target, place.IsDir)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.Attach(target)
}

// readOnlyCopy returns a read-only copy of the target's own mount.
func readOnlyCopy(target mount.Target, _ bool) (mount.Tree, error) {
	tree, err := mount.Clone(target.FD(), "", false)
	if err != nil {
		return tree, err
	}
	if err := tree.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
		return mount.Tree{}, errors.Join(err, tree.Close())
	}
	return tree, nil
}

// file writes a new small file and returns a read-only mount of it, which the caller
// must close.
func (s *scratch) file(name, content string) (mount.Tree, error) {
	name = "files/" + name
	if err := s.tree.WriteFile(name, content); err != nil {
		return mount.Tree{}, err
	}
	tree, err := mount.Clone(s.tree.FD(), name, false)
	if err != nil {
		return tree, err
	}
	return tree, tree.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false)
}
