// Package policy reads what the administrator has decided: where images are, and
// what every container gets without being asked.
package policy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// File is where the administrator's decisions are read from.
const File = "/etc/mayfly/policy.toml"

// maxSize bounds what is read of a policy file, in bytes.
const maxSize = 1 << 20

// Policy holds the administrator's decisions.
type Policy struct {
	// Store is the directory that holds the images.
	Store string `toml:"store"`
	// BindReadOnly and Bind are host paths that every container sees at the same
	// place; one that the host does not have is left out.
	BindReadOnly []string `toml:"bind-ro"`
	Bind         []string `toml:"bind"`
	// Env names the environment variables that pass into a container; a trailing
	// star stands for any ending.
	Env []string `toml:"env"`
}

// Default is the policy where the file says nothing else: the binds are those of
// the build server that Mayfly was made for.
func Default() Policy {
	return Policy{
		Store:        "/var/lib/machines",
		BindReadOnly: []string{"/etc/passwd", "/etc/group", "/opt"},
		Bind:         []string{"/home"},
		Env:          []string{"TERM", "LANG", "LC_*", "TZ", "USER", "LOGNAME", "HOME", "SHELL", "CI"},
	}
}

// Load reads the policy file, or returns the default where there is none.
func Load() (Policy, error) { return load(File, 0) }

func load(name string, owner uint32) (Policy, error) {
	// O_NONBLOCK: a FIFO in its place must not hold us; O_NOFOLLOW: nor a link mislead.
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return Default(), nil
	}
	if err == unix.ELOOP {
		err = errors.New("is a symbolic link")
	}
	if err != nil {
		return Policy{}, fmt.Errorf("open policy %s: %w", name, err)
	}
	defer unix.Close(fd)
	if err := trusted(fd, owner); err != nil {
		return Policy{}, fmt.Errorf("policy %s: %w", name, err)
	}
	data, err := file.ReadFD(fd, maxSize)
	if err != nil {
		return Policy{}, fmt.Errorf("read policy %s: %w", name, err)
	}
	return Parse(name, data)
}

// trusted checks the open file, not its name: what was checked is what is read.
func trusted(fd int, owner uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("not a regular file")
	case st.Uid != owner:
		return fmt.Errorf("owned by uid %d, want %d: chown it", st.Uid, owner)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("writable by others (mode %04o): chmod go-w it", st.Mode&0o7777)
	}
	return nil
}

// Parse reads policy text on top of the default. An error names the place.
func Parse(name string, data []byte) (Policy, error) {
	policy := Default()
	decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	err := decoder.Decode(&policy)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, column := strict.Errors[0].Position()
		return Policy{}, fmt.Errorf("%s:%d:%d: unknown key", name, row, column)
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, column := decode.Position()
		return Policy{}, fmt.Errorf("%s:%d:%d: %w", name, row, column, err)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("%s: %w", name, err)
	}
	return policy, policy.check(name)
}

func (p Policy) check(name string) error {
	for _, path := range append(append([]string{p.Store}, p.BindReadOnly...), p.Bind...) {
		if len(path) == 0 || path[0] != '/' {
			return fmt.Errorf("%s: path %q is not absolute", name, path)
		}
	}
	return nil
}
