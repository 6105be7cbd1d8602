package runtime

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
)

// leaveOut takes those of the policy's binds away that the request does not want: the
// image's own files are there instead.
func (f *Facts) leaveOut(names []string) error {
	for _, name := range names {
		name = path.Clean(name)
		if !slices.Contains(f.Policy.Bind, name) && !slices.Contains(f.Policy.BindReadOnly, name) {
			return fmt.Errorf("--no-bind %s: the rule at %s binds %s", name, f.Policy.Place(),
				strings.Join(slices.Concat(f.Policy.Bind, f.Policy.BindReadOnly), ", "))
		}
		is := func(other string) bool { return other == name }
		f.Policy.Bind, f.Policy.BindReadOnly = slices.DeleteFunc(f.Policy.Bind, is), slices.DeleteFunc(f.Policy.BindReadOnly, is)
	}
	return nil
}

// shownOfHidden is how many names of a directory are told.
const shownOfHidden = 3

// hidden are the directories of an image that are not empty and that the policy's binds
// hide; for root with some of the names in them, which may be in a closed directory.
func hidden(inside mount.Root, d rule.Decision) []string {
	var list []string
	for _, dir := range slices.Concat(d.Bind, d.BindReadOnly) {
		names := namesIn(inside, dir, shownOfHidden+1)
		slices.Sort(names)
		if len(names) > shownOfHidden {
			names = append(names[:shownOfHidden], "...")
		}
		if _, err := os.Stat(dir); err != nil || len(names) == 0 {
			continue
		}
		if os.Getuid() == 0 {
			dir = fmt.Sprintf("%s (%s)", dir, strings.Join(names, ", "))
		}
		list = append(list, dir)
	}
	return list
}

// namesIn are some of the names in a directory of an image. It has none where it is no
// directory, or not there.
func namesIn(inside mount.Root, dir string, most int) []string {
	fd, err := inside.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, _ := f.Readdirnames(most)
	return names
}

// Hidden tells what an image of the store has in directories over which the policy
// binds the host's, for root. The thread must be allowed to open the store.
func Hidden(s *image.Store, name string) ([]string, error) {
	database, err := user.Load()
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	d, err := policy.Decide(name, policyCaller(0, []uint32{0}, database))
	if err != nil {
		return nil, err
	}
	img, err := s.Image(name)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	return hidden(mount.RootAt(img.FD()), d), nil
}

// HiddenBy is the same for a decision. Who may not look into the store is told nothing.
func HiddenBy(d rule.Decision, name string) (list []string) {
	_ = WithStore("", func(s *image.Store) error {
		img, err := s.Image(name)
		if err == nil {
			list = hidden(mount.RootAt(img.FD()), d)
			err = img.Close()
		}
		return err
	})
	return list
}
