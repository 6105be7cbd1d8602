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

// openBinds takes copies of the sources of those mounts that are binds.
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

// An openedBind is a bind whose source is open.
type openedBind struct {
	specs.Mount
	fd    int
	asked bool // by the caller
}

// openBinds opens the sources of binds, once: whoever swaps a path afterwards swaps
// nothing. What the caller asked for is opened with nothing but the caller's own
// rights. So is what the administrator has named, where that is enough; else as root,
// but then by no symbolic link, which might be of the caller's making. It leaves the
// thread as it was.
func openBinds(p *plan.Plan, mounts []specs.Mount) (list []openedBind, err error) {
	var closed []int // indices of those that the caller cannot reach
	err = privilege.AsCaller(p.Owner.UID, p.Owner.GID, func() error {
		for _, m := range mounts {
			if m.Type != "bind" {
				continue
			}
			b := openedBind{m, -1, slices.Contains(p.CallerBinds, m.Destination)}
			b.fd, err = unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
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

// mayOpen asks whether the caller may open what fd is. Without AT_EACCESS the check is
// for the real user, which is the caller. Who connects to a socket needs the right to
// write; a FIFO has two ends, of which one may be another's.
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

// clone takes a copy of the source's mounts.
func (b openedBind) clone(p *plan.Plan) (mount.Tree, error) {
	readOnly := slices.Contains(b.Options, "ro")
	if err := bindable(b.fd, readOnly); err != nil {
		return mount.Tree{}, err
	}
	if b.asked {
		// Where it really is, by whatever links it was reached.
		place, err := file.PathOf(b.fd)
		if err == nil {
			err = p.Allows(place, readOnly)
		}
		if err != nil {
			return mount.Tree{}, err
		}
	}
	options := mount.ParseOptions(b.Options)
	clone := mount.Clone
	if options.Slave {
		clone = mount.CloneSlave
	}
	tree, err := clone(b.fd, "", options.Recursive)
	if err != nil {
		return tree, err
	}
	if err := tree.SetAttrs(options.Set, options.Clear, options.Recursive); err != nil {
		return tree, errors.Join(err, tree.Close())
	}
	return tree, nil
}

// hideStore appends where the directory with the caller's own images is in the bind:
// inside, its owner could change them.
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

// bindable accepts files and directories, and sockets and FIFOs, which are a way out of
// the container to the process at the other end: as those in a bound directory are. It
// takes a writable bind for them, since a read-only mount does not keep anybody from
// connecting or writing to them. Devices are the policy's to name; procfs shows the
// host's processes.
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

// checkPlace refuses what is opened again in /dev, where the host's is no more: the
// container's own root file system is there.
func (s *sources) checkPlace(fd int) error {
	if !s.again {
		return nil
	}
	place, err := file.PathOf(fd)
	if err == nil && plan.Within(place, "/dev") {
		err = errors.New("was replaced during the launch, and is in /dev, where it cannot be opened again")
	}
	return err
}

// reopenings is how often a bind is opened again because its source has been replaced.
const reopenings = 1000

// attachAgain attaches a bind whose source was replaced since it was opened, as
// useradd(8) replaces /etc/passwd: the kernel attaches nothing that has no name any
// more (ENOENT). The copy of the host's mounts that the thread has by now leads to the
// new file. It is opened and asked about as the first one was.
func (b *Builder) attachAgain(inside mount.Root, m specs.Mount) error {
	b.sources.again = true
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
