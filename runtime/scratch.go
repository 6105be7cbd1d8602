package runtime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// A scratch is a private tmpfs, mounted where only descriptors reach it, on which
// a launch puts together what does not need the root file system: /dev, /proc and
// /sys with all that is mounted in them, and the container's own small files. The
// snapshot is being made meanwhile. The scratch goes away with the old root.
type scratch struct {
	tree mount.Tree
	root mount.Root
	own  map[string]mount.Tree // by destination: what was made for this container
}

// scratchNeeds are the capabilities to build it with: to mount, and to be the user for
// a moment.
const scratchNeeds = capSysAdmin | capSetIDs

// buildScratch makes everything that stands on the scratch.
func (l *launch) buildScratch() error {
	tree, err := mount.New("tmpfs", []string{"mode=0755", "size=4m"}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return err
	}
	l.undo.add(tree.Close)
	l.scratch = &scratch{tree: tree, root: mount.RootAt(tree.FD()), own: map[string]mount.Tree{}}
	// The host's /dev is certain to be there: device nodes were just taken from it.
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
	for i, f := range l.plan.Files {
		tree, err := l.scratch.file(strconv.Itoa(i), f.Content)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		l.undo.add(tree.Close)
		l.scratch.own[f.Path] = tree
	}
	// procfs comes last: PID 1 makes it, and needs a moment to begin.
	for _, proc := range []bool{false, true} {
		for _, m := range l.plan.Spec.Mounts {
			if m.Type == "bind" && !onScratch(m.Destination) || (m.Type == "proc") != proc {
				continue
			}
			if err := l.makeFilesystem(m); err != nil {
				return err
			}
		}
	}
	return l.hidePaths()
}

// makeFilesystem makes a file system for this container, and attaches it on the
// scratch if its place is in /dev, /proc or /sys.
func (l *launch) makeFilesystem(m specs.Mount) error {
	tree, ok := l.sources.binds[m.Destination]
	if !ok {
		var err error
		if tree, err = l.newFilesystem(m); err != nil {
			return err
		}
		l.undo.add(tree.Close)
	}
	l.scratch.own[m.Destination] = tree
	if m.Destination == "/run" {
		return l.populateRun(tree)
	}
	if !onScratch(m.Destination) {
		return nil
	}
	if err := l.scratch.attach(tree, m.Destination); err != nil {
		return err
	}
	if m.Destination == "/dev" {
		return l.populateDev(tree)
	}
	return nil
}

func (l *launch) newFilesystem(m specs.Mount) (mount.Tree, error) {
	options := mount.ParseOptions(m.Options)
	if m.Type == "proc" {
		fd, err := l.init.Proc()
		return mount.TreeFromFD(fd), err
	}
	set := options.Set
	if m.Destination == "/dev" {
		set &^= unix.MOUNT_ATTR_RDONLY // until it is populated
	}
	return mount.New(m.Type, append(options.Data, "source="+m.Source), set)
}

// onScratch tells whether a mount belongs to one of those that are put together
// before the root file system is there.
func onScratch(destination string) bool {
	for _, one := range ours {
		if destination == one || strings.HasPrefix(destination, one+"/") {
			return true
		}
	}
	return false
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

// devLinks are the symbolic links of /dev.
var devLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
}

// populateDev fills /dev: device nodes bound from the host, so that no privilege to
// make them is needed, links, and mount points for what comes next. /dev/console
// is the null device until there is a terminal.
func (l *launch) populateDev(dev mount.Tree) error {
	for _, link := range devLinks {
		if err := dev.Symlink(link[0], link[1]); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := dev.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := dev.Touch("console"); err != nil {
		return err
	}
	for name, tree := range l.sources.devices {
		if err := makeParents(dev, name); err != nil {
			return err
		}
		if err := dev.Touch(name); err != nil {
			return err
		}
		if err := l.scratch.bindFile(tree, "/dev/"+name); err != nil {
			return err
		}
	}
	if !l.plan.Spec.Process.Terminal {
		if err := l.scratch.cloneOnto("/dev/null", "/dev/console"); err != nil {
			return err
		}
	}
	return dev.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false)
}

// makeParents makes the directories above a name.
func makeParents(tree mount.Tree, name string) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if err := tree.Mkdir(name[:i], 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// bindFile attaches a tree whose root is a file.
func (s *scratch) bindFile(tree mount.Tree, destination string) error {
	target, err := s.root.Name(destination)
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	defer target.Close()
	return tree.Attach(target)
}

// cloneOnto mounts a copy of what is at source on destination, both on the scratch.
func (s *scratch) cloneOnto(source, destination string) error {
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

// hidePaths covers the plan's masked paths with emptiness and makes its read-only
// paths read-only. A path that this kernel does not have needs neither.
func (l *launch) hidePaths() error {
	for source, name := range map[string]string{"/dev/null": hiddenFile, hiddenDir: hiddenDir} {
		if err := l.scratch.stamp(source, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range l.plan.Spec.Linux.MaskedPaths {
		err := l.scratch.cover(name, func(_ mount.Target, isDir bool) (mount.Tree, error) {
			if isDir {
				return mount.Clone(l.scratch.tree.FD(), hiddenDir, false)
			}
			return mount.Clone(l.scratch.tree.FD(), hiddenFile, false)
		})
		if err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	for _, name := range l.plan.Spec.Linux.ReadonlyPaths {
		if err := l.scratch.cover(name, readOnlyCopy); err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	return nil
}

// What masked paths are covered with, on the scratch.
const hiddenFile, hiddenDir = "hidden", "empty"

// stamp mounts a copy of what is at source on a name of the scratch, with the attributes that its further copies will
// have. It is attached: the kernel copies a mount that is attached nowhere only since Linux 6.15.
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

// cover mounts on a path what with makes for it, if the path is there.
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

// readOnlyCopy makes a read-only mount of the target itself.
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

// file makes a read-only mount of a new small file, which the caller must close.
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
