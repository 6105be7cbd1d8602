// Package lock locks files so that nobody waits without bound for another's process.
//
// The program runs with its caller's real user id, so the caller may stop it at any
// moment (SIGSTOP), with every lock that it holds. There are two kinds of locks,
// therefore:
//
//   - A mark says that a process lives by a file or uses it. It is held as long as that
//     lasts. It is taken without waiting, and looked at without being taken: a looker that
//     is stopped keeps nothing from anybody.
//   - A turn lets one process at a time change a directory. It is held for a moment. It is
//     waited for within a bound, after which the error names its holders.
//
// Both belong to the open file: the kernel drops them when the last descriptor of it is
// closed, at the latest when the process ends. No other package calls flock(2) or
// fcntl(2) for a lock; a test looks.
package lock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Mark marks an open regular file as in use by this process alone, if nobody has marked
// it. The descriptor must be open for writing. See F_OFD_SETLK in fcntl_locking(2),
// since Linux 3.15.
func Mark(fd int) (taken bool, err error) { return set(fd, unix.F_WRLCK) }

// MarkShared marks an open regular file as in use by this process among others, unless
// one has marked it alone. The descriptor must be open for reading.
func MarkShared(fd int) (taken bool, err error) { return set(fd, unix.F_RDLCK) }

func set(fd int, kind int16) (bool, error) {
	whole := unix.Flock_t{Type: kind}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &whole)
	for err == unix.EINTR {
		err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &whole)
	}
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("mark as in use: %w", err)
	}
	return true, nil
}

// Marked tells whether another open file has a mark, of either kind. It takes none. The
// descriptor may be open for anything but O_PATH.
func Marked(fd int) (bool, error) {
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &whole); err != nil {
		return false, fmt.Errorf("look whether it is in use: %w", err)
	}
	return whole.Type != unix.F_UNLCK, nil
}

const (
	// turnWithin bounds how long a turn is waited for: many times what is done in one.
	turnWithin = 10 * time.Second
	// leastPause and mostPause are how often it is looked whether a lock is free, first
	// and later.
	leastPause = 100 * time.Microsecond
	mostPause  = 5 * time.Millisecond
)

// Turn takes the turn of an open directory. Where others do not give it up within ten
// seconds the error is a *Busy that names them. The turn ends with Done, or when the
// last descriptor of the open file is closed. See flock(2).
func Turn(fd int) error { return turn(fd, unix.LOCK_EX) }

// TurnShared is Turn together with others who share it.
func TurnShared(fd int) error { return turn(fd, unix.LOCK_SH) }

func turn(fd, how int) error { return turnWithinBound(fd, how, turnWithin) }

func turnWithinBound(fd, how int, bound time.Duration) error {
	err := Within(bound, func() (bool, error) { return tryTurn(fd, how) })
	if err == ErrTime {
		return &Busy{bound, Holders(fd)}
	}
	return err
}

// TryTurn is Turn without waiting.
func TryTurn(fd int) (taken bool, err error) { return tryTurn(fd, unix.LOCK_EX) }

func tryTurn(fd, how int) (taken bool, err error) {
	err = unix.Flock(fd, how|unix.LOCK_NB)
	for err == unix.EINTR {
		err = unix.Flock(fd, how|unix.LOCK_NB)
	}
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the turn: %w", err)
	}
	return true, nil
}

// Done gives the turn up.
func Done(fd int) { _ = unix.Flock(fd, unix.LOCK_UN) }

// Within tries until it succeeds or the time is over, which is ErrTime.
func Within(bound time.Duration, try func() (done bool, err error)) error {
	pause := leastPause
	for begun := time.Now(); ; {
		done, err := try()
		if done || err != nil {
			return err
		}
		if time.Since(begun) > bound {
			return ErrTime
		}
		time.Sleep(pause)
		pause = min(2*pause, mostPause)
	}
}
