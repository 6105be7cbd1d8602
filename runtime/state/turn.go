package state

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/lock"
)

// An owner's directory exists while something is in it: the process that empties it
// removes it, in its turn. So a process that waits for the turn can get that of a
// removed directory, while others take turns in a new directory of the same name. It
// then starts again.

// beginWithin is how long openInTurn starts again. Each start means that another
// process has had the turn and removed the directory.
const beginWithin = 10 * time.Second

// lookAgain is the pause before openInTurn looks for a directory again.
const lookAgain = time.Millisecond

// openInTurn opens an owner's directory, makes it if it is missing, and takes its turn.
// Before that it calls prepare for work that need not be done in the turn. It calls
// prepare again for each new directory, even if prepare failed before. The caller must
// close the descriptor, which ends the turn.
func openInTurn(top string, root, uid uint32, prepare func(dir int) error) (int, error) {
	for begun := time.Now(); time.Since(begun) < beginWithin; {
		dir, err := openOwner(top, root, uid)
		if errors.Is(err, unix.ENOENT) && isDirectory(top) {
			time.Sleep(lookAgain) // it was removed between two lookups of its name
			continue
		}
		if err != nil {
			return -1, err
		}
		if err = prepare(dir); err == nil {
			err = takeTurn(dir)
		}
		there := isThere(dir)
		if there && err == nil {
			return dir, nil
		}
		unix.Close(dir)
		if there {
			return -1, err
		}
	}
	return -1, fmt.Errorf("list of your containers: others of yours have been removing it for %v", beginWithin)
}

func takeTurn(dir int) error {
	if err := lock.Turn(dir); err != nil {
		return fmt.Errorf("list of your containers: %w", err)
	}
	return nil
}

// isDirectory returns whether a path leads to a directory.
func isDirectory(name string) bool {
	var st unix.Stat_t
	return unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// isThere returns whether an open directory still has a name.
func isThere(dir int) bool {
	var st unix.Stat_t
	return unix.Fstat(dir, &st) == nil && st.Nlink > 0
}

// removeEmpty removes an owner's directory if it is empty. The caller has its turn. If
// the directory is removed already, another one may have its name, and stays.
func removeEmpty(top string, uid uint32, dir int) error {
	if !isThere(dir) {
		return nil
	}
	err := unix.Rmdir(ownerDirectory(top, uid))
	if err == nil || err == unix.ENOTEMPTY {
		return nil
	}
	return fmt.Errorf("remove state directory %d: %w", uid, err)
}

// sweepAway removes an owner's dead records, and the directory if it is then empty. It
// does nothing if another process has the turn.
func sweepAway(top string, uid uint32, dir int) error {
	taken, err := lock.TryTurn(dir)
	if err != nil || !taken {
		return err
	}
	defer lock.Done(dir)
	if !isThere(dir) { // nothing can be listed in a directory that has been removed
		return nil
	}
	if _, _, err := sweep(dir); err != nil {
		return err
	}
	return removeEmpty(top, uid, dir)
}
