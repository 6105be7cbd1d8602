package survey

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/policy/rule"
)

// shownOfHidden is how many names in a directory are told.
const shownOfHidden = 3

// Hidden returns the directories of an image that are not empty and that the policy's
// binds hide. For root some of the names in them follow; these may be in a closed
// directory, so nobody else is told. The thread must be able to read the image.
func Hidden(inside mount.Root, d rule.Decision) []string {
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

// namesIn returns at most so many names in a directory of an image; none if the
// directory cannot be read.
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
