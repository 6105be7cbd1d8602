package ref

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A CopyOwner tells the container to which a snapshot in the run directory belongs.
// Whether that container is running, its record tells.
type CopyOwner struct {
	Owner     uint32
	Container string
}

// CopyName returns the name of a container's snapshot in the run directory. digits are
// 16 random hex digits: no name is used twice, so a collector that removes the snapshot
// of a dead container cannot meet that of a living one.
func CopyName(owner uint32, container, digits string) string {
	return fmt.Sprintf("%d.%s.%s", owner, container, digits)
}

// ParseCopy reads a name that CopyName has made; ok is false for any other.
func ParseCopy(name string) (CopyOwner, bool) {
	number, rest, _ := strings.Cut(name, ".")
	owner, err := strconv.ParseUint(number, 10, 32)
	end := strings.LastIndexByte(rest, '.')
	if err != nil || end < 1 || len(rest)-end-1 != copyDigits || strings.Trim(rest[end+1:], "0123456789abcdef") != "" {
		return CopyOwner{}, false
	}
	return CopyOwner{uint32(owner), rest[:end]}, true
}

// CopyPath returns the path of a snapshot while its container runs.
func CopyPath(store, name string) string { return path.Join(store, Directory, name) }

// Directory is the name of the run directory in a store. It holds what belongs to
// running processes.
const Directory = ".mayfly"

// copyDigits is how many random digits a snapshot's name ends in. Earlier versions of
// the program gave other names.
const copyDigits = 16
