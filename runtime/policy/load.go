package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/network/address"
	"mayfly/runtime/policy/rule"
)

// maxSize is the size limit of a policy file, in bytes.
const maxSize = 1 << 20

// A source is a directory with a policy: policy.toml, and the files of policy.d, which
// are read before it.
type source struct {
	top   string // directory from which on the path to dir is checked
	dir   string
	owner uint32 // of every file and directory, or the policy is refused
	// mistake is rule.Contents's, for each file.
	mistake func(error)
}

var system = source{top: "/", dir: Directory}

// read calls visit for each rule in order, and returns the settings. Missing files are
// empty ones.
//
// Each directory from the root down is opened relative to the one above it. Each must
// belong to the owner, who alone may write to it; the same holds for the files.
// Symbolic links are not followed. What was checked is what is read.
func (s source) read(visit func(*rule.Rule) error) (rule.Settings, error) {
	settings := rule.Contents{Settings: rule.Settings{Store: rule.DefaultStore, Audit: true, Unprivileged: true, NetworkRange: address.DefaultRange.String()}, Main: true}
	dir, err := s.open()
	if errors.Is(err, unix.ENOENT) {
		return settings.Settings, nil
	}
	if err != nil {
		return rule.Settings{}, err
	}
	defer unix.Close(dir)
	if err := s.readDropIns(dir, visit); err != nil {
		return rule.Settings{}, err
	}
	err = s.readFile(dir, mainFile, filepath.Join(s.dir, mainFile), &settings, visit)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return settings.Settings, err
}

// open opens the directory.
func (s source) open() (int, error) {
	fd, err := s.openat(unix.AT_FDCWD, s.top, s.top, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	rest, err := filepath.Rel(s.top, s.dir)
	if err != nil {
		return -1, err
	}
	path := s.top
	for part := range strings.SplitSeq(rest, "/") {
		path = filepath.Join(path, part)
		next, err := s.openat(fd, part, path, unix.O_RDONLY|unix.O_DIRECTORY)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

func (s source) readDropIns(dir int, visit func(*rule.Rule) error) error {
	path := filepath.Join(s.dir, dropIns)
	fd, err := s.openat(dir, dropIns, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	directory := os.NewFile(uintptr(fd), path)
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list policy %s: %w", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".toml") {
			continue
		}
		if err := s.readFile(fd, name, filepath.Join(path, name), &rule.Contents{}, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s source) readFile(dir int, name, path string, into *rule.Contents, visit func(*rule.Rule) error) error {
	// O_NONBLOCK: if a FIFO is in its place, open(2) must not block.
	fd, err := s.openat(dir, name, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	data, err := file.ReadFD(fd, maxSize)
	if err != nil {
		return fmt.Errorf("read policy %s: %w", path, err)
	}
	into.Mistake = s.mistake
	return rule.Parse(path, data, into, visit)
}

// openat opens a file or directory of the policy, and checks the owner and the mode of
// the open file.
func (s source) openat(dir int, name, path string, flags int) (int, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP || err == unix.ENOTDIR {
		err = errors.New("is a symbolic link or of another kind")
	}
	if err != nil {
		return -1, fmt.Errorf("open policy %s: %w", path, err)
	}
	if err := s.trusted(fd, flags&unix.O_DIRECTORY != 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("policy %s: %w", path, err)
	}
	return fd, nil
}

// trusted checks an open file or directory. A directory of another user is as dangerous
// as a file of another user: that user could replace the file.
func (s source) trusted(fd int, dir bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case !dir && st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("not a regular file")
	case st.Uid != s.owner:
		return fmt.Errorf("owned by uid %d, want %d: chown it", st.Uid, s.owner)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("writable by others (mode %04o): chmod go-w it", st.Mode&0o7777)
	}
	return nil
}

// LoadSettings reads the global settings. A mistake in a rule is an error, too.
func LoadSettings(h here.Here) (rule.Settings, error) {
	if h.Rootless() {
		return ownSettings(h), nil
	}
	return system.read(func(*rule.Rule) error { return nil })
}

// Check reads the policy, or a file of any owner as if it were policy.toml, and returns
// the number of rules. It checks the devices that the rules name on this host.
func Check(name string) (rules int, err error) {
	list, _, err := All(name, nil)
	return len(list), err
}

// All reads the policy, or a file of any owner as if it were policy.toml, and returns
// its rules in order. mistake is called for each mistake in the text; nil: the first one is
// the error, which is else of what cannot be read.
func All(name string, mistake func(error)) (rules []*rule.Rule, settings rule.Settings, err error) {
	keep := func(r *rule.Rule) error {
		rules = append(rules, r.Clone())
		return checkDevices(r)
	}
	if name == "" {
		s := system
		s.mistake = mistake
		settings, err = s.read(keep)
		return rules, settings, err
	}
	data, err := file.Read(name, maxSize)
	if err != nil {
		return nil, settings, err
	}
	contents := rule.Contents{Main: true, Mistake: mistake, Settings: rule.Settings{Store: rule.DefaultStore}}
	err = rule.Parse(name, data, &contents, keep)
	return rules, contents.Settings, err
}

// checkDevices refuses what a launch would refuse: a path that exists and is not a
// device node. A symbolic link to one is refused, too.
func checkDevices(r *rule.Rule) error {
	for _, name := range r.Devices {
		var st unix.Stat_t
		if unix.Lstat(name, &st) != nil {
			continue // a launch leaves out what the host does not have
		}
		if err := file.CheckDeviceNode(st.Mode); err != nil {
			return fmt.Errorf("%s: devices: %s %w", r.Source.Place(r.Offsets[rule.KeyDevices]), name, err)
		}
	}
	return nil
}

// NamesNetwork tells whether a rule lets anybody have a network of a kind.
func NamesNetwork(kind string) (named bool, err error) {
	_, err = system.read(func(r *rule.Rule) error {
		named = named || !r.Deny && slices.Contains(r.Network, kind)
		return nil
	})
	return named, err
}

// CheckText checks a text as if it were policy.toml, and returns the number of rules.
func CheckText(name string, data []byte) (rules int, err error) {
	err = rule.Parse(name, data, &rule.Contents{Main: true}, func(*rule.Rule) error {
		rules++
		return nil
	})
	return rules, err
}
