package supervisor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/access"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
)

// A provision makes the root file system: a snapshot, on the supervisor's thread,
// while the launch's thread does all that can be done without. The snapshot's cost
// is a commit of the file system, most of it waiting, and the launch needs the root
// only near its end. The supervisor's thread stays in the host's mount namespace.
type provision struct {
	here     here.Here
	recorded chan struct{} // closed when the container has its record
	made     chan struct{} // closed when the fields below are valid
	record   *state.Entry
	group    *cgroup.Group // nil: the container has none
	snapshot *image.Snapshot
	tree     mount.Tree
	userns   *os.File // whose root the command will be; nil: none
	err      error
	used     cgroup.Stats         // by the group, once it is removed
	replaced []*mount.Replacement // in an image that is being changed
}

// newProvision returns a source whose Make the caller must call, and after it Remove. The user namespace is the caller's.
func newProvision(h here.Here, userns *os.File) *provision {
	return &provision{here: h, recorded: make(chan struct{}), made: make(chan struct{}), userns: userns}
}

// Make makes the root file system. What is wrong is told by Tree.
func (s *provision) Make(p *plan.Plan, store *image.Store, img *image.Image) {
	s.err = privilege.AsRoot(s.here, access.StoreCapabilities(store), func() error { return s.make(p, store, img) })
	close(s.made)
}

// ReadAhead reads ahead in a copy that Make has made, with the caller's own rights.
func (s *provision) ReadAhead(p *plan.Plan) {
	if s.err == nil && s.snapshot != nil {
		readAhead(s.snapshot.FD(), p.Root.ReadAhead)
	}
}

// readAheadAtMost bounds what is read of a file, in bytes.
const readAheadAtMost = 2 << 20

// readAhead fills the page cache while the thread has nothing else to do. A snapshot's
// files have a page cache of their own, which is empty: what every command reads at its
// start, it would wait for, page by page.
func readAhead(root int, names []string) {
	inside := mount.RootAt(root)
	for _, name := range names {
		fd, err := inside.OpenRegular(name)
		if err != nil {
			continue
		}
		_ = unix.Fadvise(fd, 0, readAheadAtMost, unix.FADV_WILLNEED)
		unix.Close(fd)
	}
}

func (s *provision) make(p *plan.Plan, store *image.Store, img *image.Image) error {
	var err error
	if s.record, err = state.Register(s.here, record(p), p.Containers); err != nil {
		return err
	}
	close(s.recorded)
	if p.Spec.Linux.Resources != nil {
		if s.group, err = makeGroup(p); err != nil {
			return err
		}
	}
	if p.Root.Kind == plan.RootSnapshot {
		if s.snapshot, err = store.Snapshot(img, p.Root.Name); err != nil {
			return err
		}
	}
	if s.userns == nil {
		if s.tree, err = s.mount(p, img); err != nil {
			return err
		}
		return s.replace(p, img)
	}
	return s.makeMapped(p, store, img)
}

// mount mounts the root file system.
func (s *provision) mount(p *plan.Plan, img *image.Image) (mount.Tree, error) {
	attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	userns := s.userns
	if p.Rootless {
		userns = nil // root's files belong to root inside already
	}
	switch {
	case s.snapshot != nil:
		return s.snapshot.Mount(attrs, userns)
	case p.Root.Kind == plan.RootVersion:
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	return img.Mount(attrs, userns)
}

// awaitRecord waits until the container has its record.
func (s *provision) awaitRecord() error {
	select {
	case <-s.recorded:
		return nil
	case <-s.made:
		return s.err
	}
}

// Tree waits for the root file system: a detached mount that the caller owns.
func (s *provision) Tree() (mount.Tree, error) {
	<-s.made
	return s.tree, s.err
}

// record is what others may know of the container. In UTC: to write a local time is to
// read the file that the caller's TZ names.
func record(p *plan.Plan) state.Record {
	ref := ref.Reference{Name: p.Root.Image, Version: p.Root.Version}
	return state.Record{Name: p.Container, Image: ref.String(), UID: p.Owner.UID, PID: os.Getpid(),
		Command: p.Spec.Process.Args, Root: p.Path(), Started: time.Now().UTC(), Network: p.NetworkMode, AsOwner: !p.AnotherUser()}
}

// makeGroup makes the container's control group. Without bounds to keep, a machine that cannot is no reason not to run.
func makeGroup(p *plan.Plan) (*cgroup.Group, error) {
	settings := p.Spec.Linux.Resources.Unified
	group, err := cgroup.Make(p.Owner.UID, p.Container, settings)
	if (errors.Is(err, cgroup.ErrMissing) || errors.Is(err, cgroup.ErrBounded)) && len(settings) == 0 {
		return nil, nil
	}
	return group, err
}

// Remove deletes the snapshot and the control group, where there are such, and then the record: until
// it is gone nobody else has the name. The thread must act on files as root.
func (s *provision) Remove() error {
	var errs []error
	if s.snapshot != nil {
		errs = append(errs, s.snapshot.Remove())
	}
	if s.group != nil {
		s.used = s.group.Stats()
		errs = append(errs, s.group.Remove())
	}
	if s.record != nil {
		errs = append(errs, s.record.Remove())
	}
	return errors.Join(errs...)
}
