package ref

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A copyName is the name of a container's copy in the run directory. Whether the container
// lives, its record tells.
type CopyOwner struct {
	Owner     uint32
	Container string
}

// CopyName names the copy of an owner's container. The digits are random: no name is used
// twice, so what removes the copy of a dead container cannot meet that of a living one.
func CopyName(owner uint32, container, digits string) string {
	return fmt.Sprintf("%d.%s.%s", owner, container, digits)
}

// parseCopy reads what CopyName wrote.
func ParseCopy(name string) (CopyOwner, bool) {
	number, rest, _ := strings.Cut(name, ".")
	owner, err := strconv.ParseUint(number, 10, 32)
	end := strings.LastIndexByte(rest, '.')
	if err != nil || end < 1 || len(rest)-end-1 != copyDigits || strings.Trim(rest[end+1:], "0123456789abcdef") != "" {
		return CopyOwner{}, false
	}
	return CopyOwner{uint32(owner), rest[:end]}, true
}

// CopyPath is where a copy is while its container runs.
func CopyPath(store, name string) string { return path.Join(store, Directory, name) }

// runDirectory holds what belongs to running processes.
const Directory = ".mayfly"

// copyDigits is how many random digits a copy's name ends in. What ends otherwise was named by an
// earlier version of the program.
const copyDigits = 16
