package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/state"
)

// BeginSession makes a session of an image: a snapshot on BTRFS, elsewhere a copy, made
// file by file. If limit is not 0, the owner may have so many sessions, including this
// one and those that are being made. BeginSession takes its place in that count before
// it copies anything. The thread must act on files as root.
func (s *Store) BeginSession(ctx context.Context, i *Image, uid uint32, name string, limit int) error {
	if err := ref.CheckName("session", name); err != nil {
		return err
	}
	run, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(run)
	all, err := s.sessions(true)
	if err != nil {
		return err
	}
	defer unix.Close(all)
	record := Session{Name: name, UID: uid, Image: i.Reference.String(), Began: time.Now().UTC()}
	if record.Env, err = i.Environment(); err != nil {
		return fmt.Errorf("begin session %s: %w", name, err)
	}
	if err = s.beginSession(ctx, run, all, i, record, limit); err != nil {
		return fmt.Errorf("begin session %s: %w", name, err)
	}
	return nil
}

func (s *Store) beginSession(ctx context.Context, run, all int, i *Image, r Session, limit int) error {
	draft, err := sessionDraft(sessionPrefix, r.UID, r.Name)
	if err != nil {
		return err
	}
	var held *hold
	fd := -1
	err = state.InTurn(s.Here, r.UID, func() error {
		if err := checkSessions(run, all, r, limit); err != nil {
			return err
		}
		held, fd, err = makeHeld(run, draft)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err = s.fillSession(ctx, fd, i, r); err == nil {
		err = unix.Renameat2(run, draft, all, sessionDirectory(r.UID, r.Name), unix.RENAME_NOREPLACE)
	}
	if err != nil {
		err = errors.Join(err, removeSession(run, draft, fd))
	}
	return errors.Join(err, held.release())
}

func sessionDraft(prefix string, uid uint32, name string) (string, error) {
	digits, err := randomName("")
	return prefix + ref.SnapshotName(uid, name, digits), err
}

// checkSessions refuses a session beyond the limit, and a name that is in use. Sessions
// that are being made or removed count, too. The caller has the owner's turn.
func checkSessions(run, all int, r Session, limit int) error {
	// Read those that are being made first: a session that gets its name meanwhile is
	// then found twice, rather than missed.
	names, err := unfinishedSessions(run, r.UID)
	if err != nil {
		return err
	}
	published, err := entries(all, ".")
	if err != nil {
		return err
	}
	for _, e := range published {
		if name, own := strings.CutPrefix(e.Name(), sessionDirectory(r.UID, "")); own && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case slices.Contains(names, r.Name):
		return fmt.Errorf("a session of that name %w", ErrExists)
	case limit > 0 && len(names) >= limit:
		return fmt.Errorf("%w: you already have %d of %d (`runtime session list`)", ErrTooManySessions, len(names), limit)
	}
	return nil
}

// unfinishedSessions returns the names of an owner's sessions that processes are making
// or removing.
func unfinishedSessions(run int, uid uint32) (names []string, err error) {
	list, err := entries(run, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		begun, making := ofSession(e.Name())
		c, ok := ref.ParseSnapshot(begun)
		if making && ok && c.Owner == uid && isHeld(run, e.Name()) {
			names = append(names, c.Container)
		}
	}
	return names, nil
}

func (s *Store) fillSession(ctx context.Context, dir int, i *Image, r Session) error {
	if err := s.makeDraft(dir, sessionRoot, i); err != nil {
		return err
	}
	if !s.BTRFS {
		fd, err := openHere(dir, sessionRoot)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := (&Draft{store: s, fd: fd}).copy(ctx, i.fd, true, func(int64) {}); err != nil {
			return err
		}
	}
	data, err := exact.Marshal(r)
	if err != nil {
		return err
	}
	if len(data) > maxSession {
		return fmt.Errorf("the record would be %d bytes: %w", len(data), unix.E2BIG)
	}
	fd, err := unix.Openat(dir, sessionRecord, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := file.WriteFD(fd, data); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	return unix.Fsync(fd)
}

// EndSession removes a session that no container uses. The thread must act on files as
// root.
func (s *Store) EndSession(uid uint32, name string) error {
	dir, err := s.openSession(uid, name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	record, err := openSessionRecord(dir, unix.O_RDWR)
	if err == nil {
		defer unix.Close(record)
		var taken bool
		if taken, err = lock.Mark(record); err == nil && !taken {
			return fmt.Errorf("session %s %w: `runtime ps` shows by what", name, ErrInUse)
		}
	}
	if err != nil && err != unix.ENOENT { // without a record nobody uses it
		return fmt.Errorf("end session %s: %w", name, err)
	}
	if err := s.endSession(uid, name, dir); err != nil {
		return fmt.Errorf("end session %s: %w", name, err)
	}
	return s.Reclaim()
}

// endSession removes the session's name first: after that the session no longer exists,
// and what remains is a leftover. It does so in the owner's turn, since another session
// may have the name by now.
func (s *Store) endSession(uid uint32, name string, dir int) error {
	run, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(run)
	all, err := s.sessions(false)
	if err != nil {
		return err
	}
	defer unix.Close(all)
	ended, err := sessionDraft(endedPrefix, uid, name)
	if err != nil {
		return err
	}
	held, err := holdEntry(run, ended)
	if err != nil {
		return err
	}
	err = state.InTurn(s.Here, uid, func() error {
		there, err := stillThere(all, sessionDirectory(uid, name), dir)
		if err == nil && !there {
			err = unknownSession(name)
		}
		if err == nil {
			err = unix.Renameat2(all, sessionDirectory(uid, name), run, ended, unix.RENAME_NOREPLACE)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, held.release())
	}
	err = removeSession(run, ended, dir)
	if err != nil {
		unix.Close(held.fd) // a collector goes on
		return err
	}
	return held.release()
}

// removeSession removes a session's directory from the run directory. It deletes the
// subvolume first, without a walk through it.
func removeSession(run int, name string, dir int) error {
	if err := removeTree(dir, sessionRoot); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return removeTree(run, name)
}
