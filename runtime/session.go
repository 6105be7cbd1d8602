package runtime

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/user"
)

// Resolve finds the image of a request that names a session. It comes before anything else that looks at the request.
func (r *Request) Resolve() error {
	if r.Session == "" {
		return nil
	}
	if err := r.exclusions(); err != nil {
		return err
	}
	if r.Image != "" {
		return fmt.Errorf("image %s and session %s: a session has its image already", r.Image, r.Session)
	}
	caller, err := CurrentCaller()
	if err != nil {
		return err
	}
	return WithStore(r.Store, func(s *image.Store) error {
		img, err := s.Session(caller.UID, r.Session)
		if err != nil {
			return err
		}
		r.Image = img.Reference.String()
		return img.Close()
	})
}

// BeginSession makes a session of an image for the caller, and returns its name: the one asked for, or the image's with
// random digits.
// note is told that the system's log did not take what it was told.
func BeginSession(ctx context.Context, ref, name string, note func(string)) (begun string, err error) {
	account, logged := StartChange("session begin", ref, name, nil)
	defer func() {
		account.event.Session = cmp.Or(begun, name)
		noteLost(note, logged, account.Ended(err))
	}()
	return beginSession(ctx, ref, name)
}

// noteLost tells what there is to tell of the log.
func noteLost(note func(string), errs ...error) {
	if err := cmp.Or(errs...); err != nil {
		note(err.Error())
	}
}

func beginSession(ctx context.Context, named, name string) (string, error) {
	caller, err := CurrentCaller()
	if err != nil {
		return "", err
	}
	parsed, err := ref.Parse(named)
	if err != nil {
		return "", err
	}
	if err := checkPrivilege(); err != nil {
		return "", err
	}
	database, err := user.Load()
	if err != nil {
		return "", fmt.Errorf("read user database: %w", err)
	}
	d, err := decide(parsed.Name, caller, database)
	if err != nil {
		return "", err
	}
	if err := permitted(Request{Image: named, Session: "new"}, d); err != nil {
		return "", err
	}
	if name == "" {
		var random [4]byte
		if _, err := unix.Getrandom(random[:], 0); err != nil {
			return "", fmt.Errorf("random number: %w", err)
		}
		name = parsed.Name[:min(len(parsed.Name), 50)] + "-" + hex.EncodeToString(random[:])
	}
	limit := d.Limits.Sessions
	if d.Unbound {
		limit = 0
	}
	return name, WithStore("", func(s *image.Store) error {
		if err := CheckStore(s); err != nil {
			return err
		}
		img, err := s.Image(named)
		if err != nil {
			return err
		}
		defer img.Close()
		return s.BeginSession(ctx, img, caller.UID, name, limit)
	})
}

// An OwnedSession is a session with its owner's name.
type OwnedSession struct {
	image.Session
	User string `json:"user"`
}

// Sessions lists the caller's sessions, or everybody's.
func Sessions(everybody bool) ([]OwnedSession, error) {
	caller, err := CurrentCaller()
	if err != nil {
		return nil, err
	}
	if everybody && caller.UID != 0 {
		return nil, fmt.Errorf("sessions of all users: %w", ErrNotPermitted)
	}
	var found []image.Session
	err = WithStore("", func(s *image.Store) (err error) {
		owner := int64(caller.UID)
		if everybody {
			owner = image.Everybody
		}
		found, err = s.Sessions(owner)
		return err
	})
	if err != nil {
		return nil, err
	}
	database, err := user.Load()
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	list := []OwnedSession{}
	for _, s := range found {
		list = append(list, OwnedSession{s, ownerName(database, s.UID)})
	}
	return list, nil
}

// EndSession removes a session: NAME of the caller's, or for root OWNER/NAME.
func EndSession(text string, note func(string)) (err error) {
	account, logged := StartChange("session end", "", text, nil)
	defer func() { noteLost(note, logged, account.Ended(err)) }()
	return endSession(text)
}

func endSession(text string) error {
	caller, err := CurrentCaller()
	if err != nil {
		return err
	}
	database, err := user.Load()
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	uid, name, err := ownerOf(database, caller, text)
	if err != nil {
		return err
	}
	return WithStore("", func(s *image.Store) error {
		if err := CheckStore(s); err != nil {
			return err
		}
		return s.EndSession(uid, name)
	})
}
