package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
)

// Sessions are writable copies of images that live until their owner ends them. Each is a directory UID.NAME of the
// store's .sessions, with the root file system and a record. Who runs in one has a shared lock on the directory.
const (
	sessionsDirectory = ".sessions"
	sessionRoot       = "root"
	sessionRecord     = "session.json"
	// endedPrefix begins the names, in the run directory, of sessions that are being made or removed.
	endedPrefix = ".session-"
	maxSession  = 4096 // bytes of a record
)

// ErrNoSession means that the owner has no session of that name.
var ErrNoSession = errors.New("no such session")

// ErrTooManySessions means that the owner has as many as the policy allows.
var ErrTooManySessions = errors.New("too many sessions")

// A Session is what is known of one.
type Session struct {
	Name  string    `json:"name"`
	UID   uint32    `json:"uid"` // of the owner
	Image string    `json:"image"`
	Began time.Time `json:"began"`
	Used  time.Time `json:"used"`
	InUse bool      `json:"inUse"`
}

func sessionDirectory(uid uint32, name string) string {
	return strconv.FormatUint(uint64(uid), 10) + "." + name
}

// BeginSession makes a session of an image: a snapshot on BTRFS, elsewhere a copy file by file. Where limit is not 0 the
// owner may have so many, this one included. The thread must act on files as root.
func (s *Store) BeginSession(ctx context.Context, i *Image, uid uint32, name string, limit int) error {
	if err := CheckName("session", name); err != nil {
		return err
	}
	run, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(run)
	draft, err := randomName(endedPrefix)
	if err != nil {
		return err
	}
	fd := -1
	if err = unix.Mkdirat(run, draft, 0o700); err == nil {
		fd, err = claim(run, draft)
	}
	if err != nil {
		return fmt.Errorf("begin session %s: %w", name, err)
	}
	defer unix.Close(fd)
	record := Session{Name: name, UID: uid, Image: i.Reference.String(), Began: time.Now().UTC()}
	if err = s.fillSession(ctx, fd, i, record); err == nil {
		err = s.publishSession(run, draft, record, limit)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin session %s: %w", name, err), removeSession(run, draft, fd))
	}
	return nil
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
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, sessionRecord, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, data); err != nil {
		return err
	}
	return unix.Fsync(fd)
}

// publishSession gives a session its name, if the owner may have one more and none of that name. The lock on the directory
// of all sessions makes of two at once one the first.
func (s *Store) publishSession(run int, draft string, r Session, limit int) error {
	all, err := s.sessions(true)
	if err != nil {
		return err
	}
	defer unix.Close(all)
	if err := file.Flock(all, unix.LOCK_EX); err != nil {
		return err
	}
	list, err := entries(all, ".")
	if err != nil {
		return err
	}
	count := 0
	for _, e := range list {
		if strings.HasPrefix(e.Name(), sessionDirectory(r.UID, "")) {
			count++
		}
	}
	if limit > 0 && count >= limit {
		return fmt.Errorf("%w: the policy allows you %d", ErrTooManySessions, limit)
	}
	err = unix.Renameat2(run, draft, all, sessionDirectory(r.UID, r.Name), unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		return fmt.Errorf("a session of that name %w", ErrExists)
	}
	return err
}

// sessions opens the directory of all sessions, ENOENT where there is none.
func (s *Store) sessions(create bool) (int, error) {
	if create {
		if err := unix.Mkdirat(s.fd, sessionsDirectory, 0o700); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("make %s: %w", filepath.Join(s.Path, sessionsDirectory), err)
		}
	}
	fd, err := openHere(s.fd, sessionsDirectory)
	if err == nil {
		err = file.OwnedBy(fd, realm.Root())
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", filepath.Join(s.Path, sessionsDirectory), err)
	}
	return fd, nil
}

// Session opens a session's root file system as an image. While it is open, the session does not end. The thread must
// act on files as root.
func (s *Store) Session(uid uint32, name string) (*Image, error) {
	dir, err := s.openSession(uid, name)
	if err != nil {
		return nil, err
	}
	if _, err := lockShared(dir); err != nil {
		unix.Close(dir)
		return nil, unknownSession(name)
	}
	record, err := readSession(dir)
	var ref Reference
	if err == nil {
		ref, err = ParseReference(record.Image)
	}
	fd := -1
	if err == nil {
		fd, err = openHere(dir, sessionRoot)
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("session %s: %w", name, err)
	}
	path := filepath.Join(s.Path, sessionsDirectory, sessionDirectory(uid, name), sessionRoot)
	return &Image{ref, path, true, fd, dir}, nil
}

func unknownSession(name string) error {
	return fmt.Errorf("%w: %s; `runtime session list` shows yours", ErrNoSession, name)
}

func (s *Store) openSession(uid uint32, name string) (int, error) {
	if err := CheckName("session", name); err != nil {
		return -1, err
	}
	all, err := s.sessions(false)
	if errors.Is(err, unix.ENOENT) {
		return -1, unknownSession(name)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(all)
	dir, err := openHere(all, sessionDirectory(uid, name))
	if errors.Is(err, unix.ENOENT) {
		return -1, unknownSession(name)
	}
	return dir, err
}

func readSession(dir int) (Session, error) {
	var r Session
	fd, err := unix.Openat(dir, sessionRecord, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return r, err
	}
	defer unix.Close(fd)
	data, err := file.ReadFD(fd, maxSession)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// Sessions lists sessions, of one owner or of all. The thread must act on files as root.
func (s *Store) Sessions(of func(uid uint32) bool) ([]Session, error) {
	list := []Session{}
	all, err := s.sessions(false)
	if errors.Is(err, unix.ENOENT) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(all)
	names, err := entries(all, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range names {
		dir, err := openHere(all, e.Name())
		if err != nil {
			continue // it has just ended
		}
		r, err := readSession(dir)
		if err == nil && of(r.UID) {
			free, locked := lock(dir)
			r.InUse = locked == nil && !free
			var st unix.Stat_t
			if unix.Fstat(dir, &st) == nil {
				r.Used = time.Unix(st.Mtim.Unix()).UTC()
			}
			list = append(list, r)
		}
		unix.Close(dir)
	}
	return list, nil
}

// EndSession removes a session that nobody runs in. The thread must act on files as root.
func (s *Store) EndSession(uid uint32, name string) error {
	dir, err := s.openSession(uid, name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if taken, err := lock(dir); err != nil || !taken {
		return errors.Join(fmt.Errorf("session %s %w: `runtime ps` shows by what", name, ErrInUse), err)
	}
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
	ended, err := randomName(endedPrefix)
	if err == nil {
		err = unix.Renameat2(all, sessionDirectory(uid, name), run, ended, unix.RENAME_NOREPLACE)
	}
	if err == unix.ENOENT {
		return unknownSession(name)
	}
	if err == nil {
		err = removeSession(run, ended, dir)
	}
	if err != nil {
		return fmt.Errorf("end session %s: %w", name, err)
	}
	return s.Reclaim()
}

// removeSession removes a session's directory from the run directory. Its subvolume goes first, without a walk through it.
func removeSession(run int, name string, dir int) error {
	if err := removeTree(dir, sessionRoot); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return removeTree(run, name)
}
