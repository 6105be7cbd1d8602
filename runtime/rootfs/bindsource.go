package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// openBinds takes detached copies of the sources of those mounts that are binds.
func (s *sources) openBinds(p *plan.Plan, mounts []specs.Mount) error {
	binds, err := openBinds(p, mounts)
	defer func() {
		for _, b := range binds {
			unix.Close(b.fd)
		}
	}()
	if err != nil {
		return err
	}
	for _, b := range binds {
		if err := s.checkPlace(b.fd); err != nil {
			return fmt.Errorf("bind source %q: %w", b.Source, err)
		}
		tree, err := b.clone(p)
		if err != nil {
			return fmt.Errorf("bind source %q: %w", b.Source, err)
		}
		s.binds[b.Destination] = tree
		if p.Rootless {
			if s.hidden, err = b.hideStore(s.hidden, s.here.Directory()); err != nil {
				return fmt.Errorf("bind source %q: %w", b.Source, err)
			}
		}
	}
	return nil
}

// An openedBind is a bind with its source open (O_PATH).
type openedBind struct {
	specs.Mount
	fd    int
	asked bool // the caller asked for it, not the policy
}

// openBinds opens the source of each bind once, so that swapping the path afterwards
// has no effect. What the caller asked for is opened with the caller's ids and no
// capability. What the policy names is opened in the same way first. If that fails with
// EACCES it is opened as root, without following any symbolic link
// (RESOLVE_NO_SYMLINKS): the caller could have made one. Ids and capabilities of the
// thread are afterwards what they were. The descriptors in the list are the caller's,
// after an error too.
func openBinds(p *plan.Plan, mounts []specs.Mount) (list []openedBind, err error) {
	var closed []int // indices of sources that the caller cannot reach
	err = privilege.AsCaller(p.Owner.UID, p.Owner.GID, func() error {
		for _, m := range mounts {
			if m.Type != "bind" {
				continue
			}
			b := openedBind{m, -1, slices.Contains(p.CallerBinds, m.Destination)}
			b.fd, err = file.OpenNamed(m.Source, unix.O_PATH)
			if err == unix.ELOOP {
				err = fmt.Errorf("%w, or one of /proc, which is not followed", err)
			}
			if err == nil && b.asked {
				err = mayOpen(b.fd)
			}
			list = append(list, b)
			if err == unix.EACCES && !b.asked {
				closed, err = append(closed, len(list)-1), nil
			}
			if err != nil {
				return fmt.Errorf("bind source %q: %w", m.Source, err)
			}
		}
		return nil
	})
	if err != nil {
		return list, err
	}
	for _, i := range closed {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
		if list[i].fd, err = unix.Openat2(unix.AT_FDCWD, list[i].Source, &how); err != nil {
			return list, fmt.Errorf("bind source %q, which you cannot reach yourself: %w", list[i].Source, err)
		}
	}
	return list, nil
}

// mayOpen checks that the caller may open the file of an O_PATH descriptor. Without
// AT_EACCESS the kernel checks the real ids, which are the caller's. For a socket it
// checks the right to write, which connect(2) takes. For a FIFO either right is enough:
// the caller may use one end, and another user the other.
func mayOpen(fd int) error {
	may := func(mode uint32) error { return unix.Faccessat2(fd, "", mode, unix.AT_EMPTY_PATH) }
	kind, err := file.Kind(fd)
	switch {
	case err != nil:
		return err
	case kind == unix.S_IFSOCK, kind == unix.S_IFIFO && may(unix.R_OK) != nil:
		return may(unix.W_OK)
	}
	return may(unix.R_OK)
}

// clone takes a detached copy of the source's mounts, with the attributes of the bind.
// A source that the caller asked for must be in a directory that the plan allows.
func (b openedBind) clone(p *plan.Plan) (mount.Tree, error) {
	readOnly := slices.Contains(b.Options, "ro")
	if err := bindable(b.fd, readOnly); err != nil {
		return mount.Tree{}, err
	}
	if b.asked {
		// The kernel's name for it (/proc/self/fd), whatever links led there.
		place, err := file.PathOf(b.fd)
		if err == nil {
			err = p.Allows(place, readOnly)
		}
		if err != nil {
			return mount.Tree{}, err
		}
	}
	options := mount.ParseOptions(b.Options)
	return mount.Copy{Recursive: options.Recursive, Slave: options.Slave, Set: options.Set, Clear: options.Clear}.Of(b.fd, "")
}

// hideStore appends the place inside of the directory with the caller's own images, if
// the bind has it. In a rootless container the caller could change the images there. A
// bind of something in that directory is an error.
func (b openedBind) hideStore(hidden []string, store string) ([]string, error) {
	place, err := file.PathOf(b.fd)
	switch {
	case err != nil:
		return hidden, err
	case plan.Within(place, store):
		return hidden, fmt.Errorf("is in %s, where your own images are", store)
	case plan.Within(store, place):
		hidden = append(hidden, path.Join(b.Destination, strings.TrimPrefix(store, place)))
	}
	return hidden, nil
}

// bindable accepts files, directories, sockets and FIFOs. A socket or FIFO leads out of
// the container to the process at its other end, as one in a bound directory does. It
// must be bound writable: a read-only mount stops nobody from connecting or writing to
// it. Devices are refused, since only the policy names them (Plan.Devices), and so is
// everything in a procfs, which would show the host's processes.
func bindable(fd int, readOnly bool) error {
	kind, err := file.Kind(fd)
	if err != nil {
		return err
	}
	switch kind {
	case unix.S_IFREG, unix.S_IFDIR:
	case unix.S_IFSOCK, unix.S_IFIFO:
		if readOnly {
			return errors.New("is a socket or FIFO, which no mount makes read-only: bind it writable (--bind)")
		}
	default:
		return errors.New("neither a file nor a directory, socket or FIFO")
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return errors.New("is in the host's /proc")
	}
	return nil
}

// checkPlace refuses a source in /dev that is opened a second time: the scratch covers
// the host's /dev by then, with the container's root file system on it.
func (s *sources) checkPlace(fd int) error {
	if !s.devCovered {
		return nil
	}
	place, err := file.PathOf(fd)
	if err == nil && plan.Within(place, "/dev") {
		err = errors.New("was replaced during the launch, and is in /dev, where it cannot be opened again")
	}
	return err
}

// reopenings bounds how often a bind is opened again because its source was replaced.
const reopenings = 1000

// attachAgain attaches a bind whose source was replaced after it was opened, as
// useradd(8) replaces /etc/passwd. The kernel attaches no file that has no name any
// more (ENOENT). The thread has a copy of the host's mounts, in which the path leads to
// the new file. It is opened with the same rights and the same checks as the first one.
func (b *Builder) attachAgain(inside mount.Root, m specs.Mount) error {
	b.sources.devCovered = true
	for range reopenings {
		old := b.sources.binds[m.Destination]
		delete(b.sources.binds, m.Destination)
		err := privilege.AsRoot(b.Here, SourceCapabilities, func() error { return b.sources.openBinds(b.Plan, []specs.Mount{m}) })
		err = errors.Join(err, old.Close())
		if err == nil {
			err = b.attachTo(inside, b.sources.binds[m.Destination], m.Destination)
		}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return fmt.Errorf("bind source %q is being replaced all the time: %w", m.Source, unix.ENOENT)
}
