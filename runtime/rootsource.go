package runtime

import (
	"errors"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/image"
)

// A rootSource makes the root file system: a snapshot, on a thread of its own,
// because its cost is a commit of the file system, most of it waiting, and the rest
// of a launch needs the root only near its end. That thread stays in the host's
// mount namespace, acts on files as root, and deletes the snapshot in the end.
type rootSource struct {
	ready  chan rootResult
	remove chan struct{}
	gone   chan error
}

type rootResult struct {
	tree mount.Tree
	err  error
}

// startRoot begins. The caller must call Remove exactly once.
func startRoot(p *Plan, store *image.Store, img *image.Image) *rootSource {
	s := &rootSource{ready: make(chan rootResult, 1), remove: make(chan struct{}), gone: make(chan error, 1)}
	go s.serve(p, store, img)
	return s
}

func (s *rootSource) serve(p *Plan, store *image.Store, img *image.Image) {
	goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
	snapshot, tree, err := makeRoot(p, store, img)
	s.ready <- rootResult{tree, err}
	<-s.remove
	if snapshot == nil {
		s.gone <- nil
		return
	}
	s.gone <- snapshot.Remove()
}

func makeRoot(p *Plan, store *image.Store, img *image.Image) (*image.Snapshot, mount.Tree, error) {
	if err := nsexec.SetFSIDs(0, 0); err != nil {
		return nil, mount.Tree{}, err
	}
	fd := img.FD()
	var snapshot *image.Snapshot
	if p.Ephemeral {
		var err error
		if snapshot, err = store.Snapshot(img, p.Container); err != nil {
			return nil, mount.Tree{}, err
		}
		fd = snapshot.FD()
	}
	tree, err := mount.Clone(fd, "", false)
	if err != nil {
		return snapshot, tree, err
	}
	if err := tree.SetAttrs(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0, false); err != nil {
		return snapshot, tree, errors.Join(err, tree.Close())
	}
	return snapshot, tree, nil
}

// Tree waits for the root file system: a detached mount that the caller owns.
func (s *rootSource) Tree() (mount.Tree, error) {
	r := <-s.ready
	return r.tree, r.err
}

// Remove deletes the snapshot, if there is one, once it has been made.
func (s *rootSource) Remove() error {
	close(s.remove)
	return <-s.gone
}
