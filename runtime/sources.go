package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/policy"
)

// devices are the host's device nodes that a container sees: those of the OCI
// specification.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// sources are the host's files and directories that a container will see, each a
// detached copy of its mount. They are taken while the thread is still in the
// host's mount namespace, since the kernel copies no other namespace's mounts.
type sources struct {
	binds   map[string]mount.Tree // by destination
	devices map[string]mount.Tree // by name
}

// openSourcesNeeds are the capabilities with which the thread opens sources: to copy mounts,
// and to be the caller in between.
const openSourcesNeeds = capSysAdmin | capSetIDs

func openSources(p *Plan, c Caller) (*sources, error) {
	s := &sources{binds: map[string]mount.Tree{}, devices: map[string]mount.Tree{}}
	for _, name := range devices {
		tree, err := mount.Clone(unix.AT_FDCWD, "/dev/"+name, false)
		if err != nil {
			return s, err
		}
		s.devices[name] = tree
	}
	for _, path := range p.Devices {
		tree, err := openDevice(path)
		if err == unix.ENOENT {
			continue // as with binds: what the host does not have
		}
		if err != nil {
			return s, fmt.Errorf("device %s: %w", path, err)
		}
		s.devices[strings.TrimPrefix(path, "/dev/")] = tree
	}
	for _, m := range p.Spec.Mounts {
		if m.Type != "bind" {
			continue
		}
		tree, err := openBind(m, p, c)
		if err != nil {
			return s, err
		}
		s.binds[m.Destination] = tree
	}
	return s, nil
}

// openBind takes a copy of the source's mounts. What the caller asked for is
// opened with nothing but the caller's own rights, once, and the descriptor is
// what is copied: whoever swaps the path afterwards swaps nothing.
func openBind(m specs.Mount, p *Plan, c Caller) (mount.Tree, error) {
	var fd int
	var err error
	asked := slices.Contains(p.CallerBinds, m.Destination)
	if asked {
		fd, err = openAsCaller(m.Source, c)
	} else {
		fd, err = unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return mount.Tree{}, fmt.Errorf("bind source %q: %w", m.Source, err)
	}
	defer unix.Close(fd)
	err = bindable(fd)
	if err == nil && asked {
		err = p.mayBind(fd, slices.Contains(m.Options, "ro"))
	}
	if err != nil {
		return mount.Tree{}, fmt.Errorf("bind source %q: %w", m.Source, err)
	}
	options := mount.ParseOptions(m.Options)
	tree, err := mount.Clone(fd, "", options.Recursive)
	if err != nil {
		return tree, fmt.Errorf("bind source %q: %w", m.Source, err)
	}
	if err := tree.SetAttrs(options.Set, options.Clear, options.Recursive); err != nil {
		return tree, errors.Join(fmt.Errorf("bind source %q: %w", m.Source, err), tree.Close())
	}
	return tree, nil
}

// openDevice takes a copy of a device node of the host's /dev.
func openDevice(path string) (mount.Tree, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return mount.Tree{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return mount.Tree{}, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return mount.Tree{}, errors.New("is no device node")
	}
	return mount.Clone(fd, "", false)
}

// mayBind tells whether the policy lets the caller bind what is open as fd: where it
// really is, by whatever links it was reached.
func (p *Plan) mayBind(fd int, readOnly bool) error {
	allowed := p.BindFrom
	if readOnly {
		allowed = slices.Concat(p.BindFrom, p.BindReadOnlyFrom)
	}
	if slices.Contains(allowed, "/") {
		return nil
	}
	place, err := placeOf(fd)
	if err != nil {
		return err
	}
	for _, dir := range allowed {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // one that the host does not have
		}
		real, err := placeOf(fd)
		unix.Close(fd)
		if err == nil && (place == real || strings.HasPrefix(place, strings.TrimSuffix(real, "/")+"/")) {
			return nil
		}
	}
	return fmt.Errorf("is %q: %w, which lets you bind what is in %q", place, policy.ErrDenied, allowed)
}

// placeOf is the path of an open file as the kernel knows it.
func placeOf(fd int) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buffer)
	if err != nil {
		return "", fmt.Errorf("path of descriptor: %w", err)
	}
	if n == len(buffer) || n == 0 || buffer[0] != '/' {
		return "", fmt.Errorf("path of descriptor: %w", unix.ENAMETOOLONG)
	}
	return string(buffer[:n]), nil
}

// bindable accepts files and directories. A device, FIFO or socket would be a
// channel out of the container; procfs shows the host's processes.
func bindable(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	default:
		return errors.New("neither a file nor a directory")
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

// openAsCaller opens a path as the caller could, with their ids and no capability
// (root: with root's), and makes sure that they may read it. It leaves the thread as it was.
func openAsCaller(path string, c Caller) (fd int, err error) {
	own := noCapability
	if c.UID == 0 {
		have, err := nsexec.CurrentCapabilities()
		if err != nil {
			return -1, err
		}
		own = have.Permitted
	}
	if err := actOnFilesAs(int(c.UID), int(c.GID), own); err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, actOnFilesAs(0, 0, openSourcesNeeds)) }()
	fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Without AT_EACCESS the check is for the real user, which is the caller.
	if err := unix.Faccessat2(fd, "", unix.R_OK, unix.AT_EMPTY_PATH); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close releases what was not attached, and the descriptors of what was.
func (s *sources) Close() error {
	var errs []error
	for _, trees := range []map[string]mount.Tree{s.binds, s.devices} {
		for _, tree := range trees {
			errs = append(errs, tree.Close())
		}
	}
	return errors.Join(errs...)
}
