package state

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/lock"
)

// An owner's directory is there as long as something is in it: the process that empties
// it removes it, in its turn. So a turn can be that of a directory that has been
// removed while it was waited for, which says nothing to those who have made the next
// one. A process that gets such a turn begins again.

// beginWithin bounds for how long: each time somebody else has had the turn meanwhile,
// and who they are is for the caller to say.
const beginWithin = 10 * time.Second

// lookAgain is the pause before an owner's directory is looked for once more.
const lookAgain = time.Millisecond

// openInTurn opens an owner's directory, makes it where it is not there, and takes its
// turn. Before that it calls prepare for what need not be done in the turn; whatever
// comes of that, it is called again for another directory. The caller must close the
// descriptor, which ends the turn.
func openInTurn(top string, root, uid uint32, prepare func(dir int) error) (int, error) {
	for begun := time.Now(); time.Since(begun) < beginWithin; {
		dir, err := openOwner(top, root, uid)
		if errors.Is(err, unix.ENOENT) && isDirectory(top) {
			time.Sleep(lookAgain) // it went between two looks at its name
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

// isDirectory tells whether a name leads to a directory.
func isDirectory(name string) bool {
	var st unix.Stat_t
	return unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// isThere tells whether an open directory has not been removed.
func isThere(dir int) bool {
	var st unix.Stat_t
	return unix.Fstat(dir, &st) == nil && st.Nlink > 0
}

// removeEmpty removes an owner's directory if nothing is in it. The caller has its
// turn. One that has been removed is not looked for: its name is another's.
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

// sweepAway removes an owner's dead records, and their directory with the last, unless
// somebody has the turn.
func sweepAway(top string, uid uint32, dir int) error {
	taken, err := lock.TryTurn(dir)
	if err != nil || !taken {
		return err
	}
	defer lock.Done(dir)
	if _, _, err := sweep(dir); err != nil {
		return err
	}
	return removeEmpty(top, uid, dir)
}
