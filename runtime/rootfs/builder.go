// Package rootfs builds the file system of a container and enters it. /dev, /proc and
// /sys are put together on a scratch tmpfs. Then they, the binds from the host and the
// container's own files are attached to the root file system, by descriptors.
//
// A launch.Launch embeds a Builder and has its methods as steps; they run on the
// launch's thread. The root file system's author may be hostile, and so may the caller,
// who owns sources of binds. Plan.Allows decides what the caller may bind.
package rootfs

import (
	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// A Builder builds the file system of a container, on the launch's thread. It looks up
// each path of the host or of the image once: what is mounted, and what it is mounted
// on, are descriptors.
type Builder struct {
	Here here.Here
	Plan *plan.Plan
	// Root waits for the root file system and returns its detached mounts.
	Root func() (Root, error)

	Init    *nsexec.Init // PID 1, which makes the container's procfs
	sources *sources     // detached copies of the host's mounts
	Scratch *scratch
	made    held       // mounts that were made, by their descriptors; Close closes them
	tree    mount.Tree // the container's root file system, one of made
	rootID  uint64     // mount id of the root file system
	// ThreadProc is a descriptor of the thread's directory in the host's procfs, from
	// Pivot on; 0: there is none yet. The supervisor closes it.
	ThreadProc int
	// Opened watches what is opened, from Watch on; nil: nothing does. The supervisor
	// stops it.
	Opened *inputs.Watch
}

// A Root is a root file system, and the directories of the plan's disk, as detached
// mounts.
type Root struct {
	Tree mount.Tree
	Disk []Mounted
}

// A Mounted is a detached mount, and where it belongs.
type Mounted struct {
	Destination string
	Tree        mount.Tree
}

// Close closes the descriptors that are of no use when the command runs, once.
func (b *Builder) Close() {
	if b.sources != nil {
		b.made = append(b.made, b.sources.trees()...)
		b.sources = nil
	}
	b.made.close()
}

// held are mounts whose descriptors are open.
type held []mount.Tree

func (h *held) add(t mount.Tree) { *h = append(*h, t) }

// close closes the descriptors and empties the list. To close the descriptor of a mount
// fails only if it is not open.
func (h *held) close() {
	_ = mount.CloseAll(*h)
	*h = nil
}

// BecomeRootForFiles makes the thread act on files as root (setfsuid(2)): what it
// creates belongs to root, and it can enter the store. The thread needs CAP_SETUID and
// CAP_SETGID.
func (b *Builder) BecomeRootForFiles() error {
	_, err := nsexec.ActOnFilesAs(int(b.Here.Root().UID), int(b.Here.Root().GID), privilege.SetIDs)
	return err
}

// OpenSources takes detached copies of the mounts of all bind sources and device nodes.
// The thread must still be in the host's mount namespace, and needs SourceCapabilities.
func (b *Builder) OpenSources() error {
	sources, err := openSources(b.Here, b.Plan)
	b.sources = sources
	return err
}

// TakeRoot waits for the root file system and attaches it to the scratch. The thread
// needs CAP_SYS_ADMIN.
func (b *Builder) TakeRoot() error {
	root, err := b.Root()
	if err != nil {
		return err
	}
	b.tree = root.Tree
	b.made.add(root.Tree)
	for _, m := range root.Disk {
		b.Scratch.Own[m.Destination] = m.Tree
		b.made.add(m.Tree)
	}
	return b.Scratch.attachRoot(root.Tree)
}

// BecomeRootInside makes the thread act on files with the host ids of root inside. All
// files that the thread makes from here on belong to it.
func (b *Builder) BecomeRootInside() error {
	return nsexec.SetFSIDs(b.Plan.RootOnHost())
}
