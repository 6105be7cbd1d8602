// Package rootfs builds the file system of a container and enters it: what is bound from the host,
// /dev, /proc and /sys on a scratch, all of it attached by descriptors below the root file system.
//
// Its Builder is part of a launch.Launch, whose steps are its methods, and runs on the launch's thread.
// The root file system's author may be hostile, and so may the caller who owns what is bound. Where the
// caller may bind from, the plan answers (Plan.Allows).
package rootfs

import (
	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// A Builder puts the file system of a container together, on the launch's thread. It names no path
// of the host or of the image twice: what is mounted, and what it is mounted on, are descriptors.
type Builder struct {
	Here     here.Here
	Plan     *plan.Plan
	RootTree func() (mount.Tree, error) // waits for the root file system

	Init       *nsexec.Init // which makes the container's procfs
	sources    *sources     // what is mounted from the host
	Scratch    *scratch
	tree       mount.Tree // the container's root file system
	rootID     uint64     // the id of its mount
	devIDs     []uint64   // and of those in /dev
	ThreadProc int        // the thread's directory in the host's procfs, until the end
	Undo       undo
}

// BecomeRootForFiles makes what the thread creates belong to root, with its exact
// mode, and lets it enter the store.
func (b *Builder) BecomeRootForFiles() error {
	return nsexec.ActOnFilesAs(int(b.Here.Root().UID), int(b.Here.Root().GID), privilege.SetIDs)
}

func (b *Builder) OpenSources() error {
	sources, err := openSources(b.Here, b.Plan)
	b.sources = sources
	b.Undo.add(sources.Close)
	return err
}

// TakeRoot waits for the snapshot.
func (b *Builder) TakeRoot() error {
	tree, err := b.RootTree()
	if err != nil {
		return err
	}
	b.tree = tree
	b.Undo.add(tree.Close)
	return b.Scratch.attachRoot(tree)
}

// BecomeRootInside makes the thread act on files as root inside: all that it makes from now on is theirs, and the root file
// system is put together for them as it is for root.
func (b *Builder) BecomeRootInside() error {
	if !b.Plan.RootInside() {
		return nil
	}
	return nsexec.SetFSIDs(b.Plan.RootOnHost())
}
