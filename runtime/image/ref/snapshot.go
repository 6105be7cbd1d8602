package ref

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A SnapshotOwner tells the container to which a snapshot in the run directory belongs.
// Whether that container is running, its record tells.
type SnapshotOwner struct {
	Owner     uint32
	Container string
}

// SnapshotName returns the name of a container's snapshot in the run directory. digits are
// 16 random hex digits: no name is used twice, so a collector that removes the snapshot
// of a dead container cannot meet that of a living one.
func SnapshotName(owner uint32, container, digits string) string {
	return fmt.Sprintf("%d.%s.%s", owner, container, digits)
}

// ParseSnapshot reads a name that SnapshotName has made; ok is false for any other.
func ParseSnapshot(name string) (SnapshotOwner, bool) {
	number, rest, _ := strings.Cut(name, ".")
	owner, err := strconv.ParseUint(number, 10, 32)
	end := strings.LastIndexByte(rest, '.')
	if err != nil || end < 1 || len(rest)-end-1 != snapshotDigits || strings.Trim(rest[end+1:], "0123456789abcdef") != "" {
		return SnapshotOwner{}, false
	}
	return SnapshotOwner{uint32(owner), rest[:end]}, true
}

// SnapshotPath returns the path of a snapshot while its container runs.
func SnapshotPath(store, name string) string { return path.Join(store, RunDirectory, name) }

// Directory is the name of the run directory in a store. It holds what belongs to
// running processes.
const RunDirectory = ".mayfly"

// copyDigits is how many random digits a snapshot's name ends in. Earlier versions of
// the program gave other names.
const snapshotDigits = 16
