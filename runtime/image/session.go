package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

// A session is a writable snapshot of an image that stays until its owner ends it. It
// is a directory UID.NAME in the store's .sessions, with the root file system and a
// record. Its containers' supervisors have marked the record.
const (
	sessionsDirectory = ".sessions"
	sessionRoot       = "root"
	sessionRecord     = "session.json"
	// sessionPrefix and endedPrefix start the names of sessions that are being made and
	// removed, in the run directory. A name of SnapshotName follows.
	sessionPrefix = ".session-"
	endedPrefix   = ".ended-"
	maxSession    = 512 << 10 // bytes of a record, most of them of an environment
)

// ofSession returns whether an entry of the run directory is a session that is being
// made or removed, and its name after the prefix.
func ofSession(name string) (rest string, is bool) {
	if rest, is = strings.CutPrefix(name, sessionPrefix); is {
		return rest, true
	}
	return strings.CutPrefix(name, endedPrefix)
}

// ErrNoSession means that the owner has no session of that name.
var ErrNoSession = errors.New("no such session")

// ErrTooManySessions means that the owner has as many sessions as the policy allows.
var ErrTooManySessions = errors.New("too many sessions")

// A Session is the record of a session.
type Session struct {
	Name  string    `json:"name"`
	UID   uint32    `json:"uid"` // of the owner
	Image string    `json:"image"`
	Began time.Time `json:"began"`
	Used  time.Time `json:"used"`
	InUse bool      `json:"inUse"`
	Env   []string  `json:"env,omitempty"` // of the image, which may be removed
}

func sessionDirectory(uid uint32, name string) string {
	return strconv.FormatUint(uint64(uid), 10) + "." + name
}

// sessions opens the directory of all sessions. It returns ENOENT if there is none.
func (s *Store) sessions(create bool) (int, error) {
	if create {
		if err := unix.Mkdirat(s.fd, sessionsDirectory, 0o700); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("make %s: %w", filepath.Join(s.Path, sessionsDirectory), err)
		}
	}
	fd, err := openHere(s.fd, sessionsDirectory)
	if err == nil {
		err = file.OwnedBy(fd, s.Here.Root().UID)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", filepath.Join(s.Path, sessionsDirectory), err)
	}
	return fd, nil
}

// Session opens a session's root file system as an image. While it is open, the session
// cannot be ended. The thread must act on files as root.
func (s *Store) Session(uid uint32, name string) (*Image, error) {
	dir, err := s.openSession(uid, name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	record, fd, err := s.useSession(dir, uid, name)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", name, err)
	}
	r, err := parseSession(record)
	var named ref.Reference
	if err == nil {
		named, err = ref.Parse(r.Image)
	}
	if err != nil {
		file.CloseAll([]int{record, fd})
		return nil, fmt.Errorf("session %s: %w", name, err)
	}
	path := filepath.Join(s.Path, sessionsDirectory, sessionDirectory(uid, name), sessionRoot)
	return &Image{Reference: named, Path: path, Private: true, fd: fd, record: record, env: r.Env}, nil
}

// useSession marks a session as in use, and opens its record and its root file system.
// A session that is being ended is unknown to it.
func (s *Store) useSession(dir int, uid uint32, name string) (record, root int, err error) {
	if record, err = openSessionRecord(dir, unix.O_RDONLY); err != nil {
		return -1, -1, err
	}
	taken, err := lock.MarkShared(record)
	there := false
	if err == nil && taken {
		there, err = stillThere(s.fd, filepath.Join(sessionsDirectory, sessionDirectory(uid, name)), dir)
	}
	if err == nil && !there {
		err = unknownSession(name)
	}
	if err == nil {
		root, err = openHere(dir, sessionRoot)
	}
	if err != nil {
		unix.Close(record)
		return -1, -1, err
	}
	return record, root, nil
}

func openSessionRecord(dir, mode int) (int, error) {
	return unix.Openat(dir, sessionRecord, mode|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func unknownSession(name string) error {
	return fmt.Errorf("%w: %s; `runtime session list` shows yours", ErrNoSession, name)
}

func (s *Store) openSession(uid uint32, name string) (int, error) {
	if err := ref.CheckName("session", name); err != nil {
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

// parseSession reads an open record.
func parseSession(fd int) (r Session, err error) {
	data, err := file.ReadFD(fd, maxSession)
	if err != nil {
		return r, err
	}
	return r, exact.Unmarshal(data, &r)
}

// Sessions lists sessions, of one owner or of Everybody. It takes no lock. The thread
// must act on files as root.
func (s *Store) Sessions(owner int64) ([]Session, error) {
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
		number, name, _ := strings.Cut(e.Name(), ".")
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil || owner != Everybody && owner != int64(uid) {
			continue
		}
		r, err := describeSession(all, e.Name())
		if errors.Is(err, unix.ENOENT) {
			continue // it has just ended
		}
		if err != nil { // it is there all the same, and takes space
			r.Image = "unusable: " + err.Error()
		}
		r.Name, r.UID = name, uint32(uid)
		list = append(list, r)
	}
	return list, nil
}

func describeSession(all int, directory string) (r Session, err error) {
	fd, err := unix.Openat(all, directory+"/"+sessionRecord, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return r, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if r, err = parseSession(fd); err == nil {
		r.InUse, err = lock.Marked(fd)
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	r.Used = time.Unix(st.Mtim.Unix()).UTC()
	return r, err
}
