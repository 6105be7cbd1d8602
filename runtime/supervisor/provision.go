package supervisor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/rootfs"
	"mayfly/runtime/state"
)

// A provision makes the container's record, its control group and its root file system,
// on the supervisor's thread, which stays in the host's mount namespace. The launch's
// thread does meanwhile all that needs no root file system. A snapshot costs a
// transaction commit of BTRFS, which is mostly waiting.
type provision struct {
	here     here.Here
	recorded chan struct{} // closed when the container has its record
	made     chan struct{} // closed when Make is done and the fields below are valid
	ready    nsexec.Latch  // opened then, too, for the launch's thread
	record   *state.Entry
	group    *cgroup.Group // nil: the container has none
	snapshot *image.Snapshot
	disk     *image.Disk // nil: there is none
	mounts   rootfs.Root
	userns   *os.File // user namespace that the command will be root of; nil: none
	err      error
	used     cgroup.Stats // what the group has used, when Remove is done
	// Files that replace puts into an image that is being changed.
	replaced []*mount.Replacement
}

// newProvision returns a provision. The caller must call Make, and Remove after it.
// userns stays the caller's.
func newProvision(h here.Here, userns *os.File) *provision {
	return &provision{here: h, recorded: make(chan struct{}), made: make(chan struct{}), userns: userns}
}

// Make makes the root file system. Root and awaitRecord return its error.
func (s *provision) Make(p *plan.Plan, store *image.Store, img *image.Image) {
	s.err = privilege.AsRoot(s.here, access.StoreCapabilities(store), func() error { return s.make(p, store, img) })
	s.done()
}

// done lets those through who wait for Make.
func (s *provision) done() {
	s.ready.Open()
	close(s.made)
}

// ReadAhead reads ahead in the snapshot that Make has made, if any, with the caller's
// own rights.
func (s *provision) ReadAhead(p *plan.Plan) {
	if s.err == nil && s.snapshot != nil {
		readAhead(s.snapshot.FD(), p.Root.ReadAhead)
	}
}

// readAheadAtMost bounds what is read ahead of a file, in bytes.
const readAheadAtMost = 2 << 20

// readAhead fills the page cache while the thread has nothing else to do. A snapshot's
// files have a page cache of their own, which is empty at first. Without this, the
// command would wait for its program and libraries page by page.
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
	if p.Disk != "" {
		if s.disk, err = store.NewDisk(p.Disk, diskDirectories(p)); err != nil {
			return err
		}
	}
	if s.userns == nil {
		if err := s.mountAll(p, img); err != nil {
			return err
		}
		return s.replace(p, img)
	}
	return s.makeMapped(p, store, img)
}

// mountAll makes detached mounts of the root file system and of directories of the
// disk.
func (s *provision) mountAll(p *plan.Plan, img *image.Image) (err error) {
	if s.mounts.Tree, err = s.mount(p, img); err != nil {
		return err
	}
	for _, m := range p.Spec.Mounts {
		if m.Type != plan.OnDisk {
			continue
		}
		tree, err := s.disk.Mount(m.Source, mount.ParseOptions(m.Options).Set, s.mapping(p))
		if err != nil {
			return err
		}
		s.mounts.Disk = append(s.mounts.Disk, rootfs.Mounted{Destination: m.Destination, Tree: tree})
	}
	return nil
}

// diskDirectories are the directories that the plan's disk must have.
func diskDirectories(p *plan.Plan) (names []string) {
	for _, m := range p.Spec.Mounts {
		if m.Type == plan.OnDisk {
			names = append(names, m.Source)
		}
	}
	return names
}

// mount returns a detached mount of the root file system. With root inside it is
// ID-mapped by the user namespace, unless the container is rootless.
func (s *provision) mount(p *plan.Plan, img *image.Image) (mount.Tree, error) {
	attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	switch p.Root.Kind {
	case plan.RootSnapshot:
		return s.snapshot.Mount(attrs, s.mapping(p))
	case plan.RootVersion:
		attrs |= unix.MOUNT_ATTR_RDONLY
	case plan.RootSession, plan.RootDraft, plan.RootImage:
	default:
		return mount.Tree{}, fmt.Errorf("root file system of kind %q: none that a launch knows", p.Root.Kind)
	}
	return img.Mount(attrs, s.mapping(p))
}

// mapping is the user namespace by which mounts from the store are ID-mapped; nil: they
// are not. Rootless, root's files belong to root inside already.
func (s *provision) mapping(p *plan.Plan) *os.File {
	if p.Rootless {
		return nil
	}
	return s.userns
}

// awaitRecord waits until the container has its record; the error is why it gets none.
// The launch's thread calls it.
func (s *provision) awaitRecord() error {
	select {
	case <-s.recorded:
		return nil
	case <-s.made:
		return s.err
	}
}

// Root waits for the root file system and returns its detached mounts, which the caller
// owns. The launch's thread calls it.
func (s *provision) Root() (rootfs.Root, error) {
	s.ready.Wait()
	return s.mounts, s.err
}

// record returns the container's record, which `ps` and others read. The time is in
// UTC: to format a local time would read the file that the caller's TZ names.
func record(p *plan.Plan) state.Record {
	ref := ref.Reference{Name: p.Root.Image, Version: p.Root.Version}
	return state.Record{Name: p.Container, Image: ref.String(), UID: p.Owner.UID, PID: os.Getpid(),
		Command: p.Spec.Process.Args, Root: p.Path(), Disk: p.Disk, Started: time.Now().UTC(), Network: p.NetworkMode, AsOwner: !p.AnotherUser()}
}

// makeGroup makes the container's control group. Where none can be made there is none,
// if there are no limits to keep, or if the caller's own group keeps them.
func makeGroup(p *plan.Plan) (*cgroup.Group, error) {
	settings := p.Spec.Linux.Resources.Unified
	group, err := cgroup.Make(p.Owner.UID, p.Container, settings)
	if !errors.Is(err, cgroup.ErrMissing) && !errors.Is(err, cgroup.ErrLimited) {
		return group, err
	}
	if len(settings) == 0 {
		return nil, nil
	}
	if covered, look := cgroup.Covered(settings); covered || look != nil {
		return nil, look
	}
	return nil, err
}

// Remove deletes the snapshot, the disk and the control group, and after them the record:
// as long as it exists no other container gets the name. The thread must act on files as
// root and needs access.StoreCapabilities. Processes of the container may still be ending.
func (s *provision) Remove() error {
	var errs []error
	if s.snapshot != nil {
		errs = append(errs, s.snapshot.Remove())
	}
	if s.disk != nil {
		errs = append(errs, s.disk.Remove())
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
