// Package session begins, lists and ends sessions: writable snapshots of images that
// stay between runs. Package main calls it. A run in a session is a launch like any
// other.
package session

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/audit"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
)

// Begin makes a session of an image for the caller, and returns its name: the one asked
// for, or the image's with random digits. note is told if the system's log did not take
// an event. The error wraps rule.ErrDenied where the policy allows none.
func Begin(ctx context.Context, h here.Here, ref, name string, note func(string)) (begun string, err error) {
	account, logged := audit.BeginChange(h, "session begin", ref, name, nil)
	defer func() {
		account.Event.Session = cmp.Or(begun, name)
		noteLost(note, logged, account.Ended(err))
	}()
	return begin(ctx, h, ref, name)
}

// noteLost tells the first error of logging.
func noteLost(note func(string), errs ...error) {
	if err := cmp.Or(errs...); err != nil {
		note(err.Error())
	}
}

func begin(ctx context.Context, h here.Here, named, name string) (string, error) {
	caller, err := access.CurrentCaller()
	if err != nil {
		return "", err
	}
	parsed, err := ref.Parse(named)
	if err != nil {
		return "", err
	}
	if err := privilege.Check(); err != nil {
		return "", err
	}
	database, err := user.Load(h)
	if err != nil {
		return "", fmt.Errorf("read user database: %w", err)
	}
	d, err := access.Decide(h, parsed.Name, caller, database)
	if err != nil {
		return "", err
	}
	if err := plan.Permitted(plan.Request{Image: named, Session: "new"}, d); err != nil {
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
	return name, access.WithStore(h, "", func(s *image.Store) error {
		if err := access.CheckStore(s); err != nil {
			return err
		}
		img, err := s.Image(named)
		if err != nil {
			return err
		}
		defer img.Close()
		if err := access.CheckVersion(s, img, d); err != nil {
			return err
		}
		return s.BeginSession(ctx, img, caller.UID, name, limit)
	})
}

// A Session is a session with its owner's name.
type Session struct {
	image.Session
	User string `json:"user"`
}

// List lists the caller's sessions, or everybody's. Only root may list everybody's: the
// error wraps caller.ErrNotPermitted otherwise.
func List(h here.Here, everybody bool) ([]Session, error) {
	who, err := access.Lister(everybody, "sessions")
	if err != nil {
		return nil, err
	}
	var found []image.Session
	err = access.WithStore(h, "", func(s *image.Store) (err error) {
		owner := int64(who.UID)
		if everybody {
			owner = image.Everybody
		}
		found, err = s.Sessions(owner)
		return err
	})
	if err != nil {
		return nil, err
	}
	database, err := user.Load(h)
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	list := []Session{}
	for _, s := range found {
		list = append(list, Session{s, access.OwnerName(database, s.UID)})
	}
	return list, nil
}

// End removes a session: NAME of the caller's, or OWNER/NAME for root. note is as for
// Begin.
func End(h here.Here, text string, note func(string)) (err error) {
	account, logged := audit.BeginChange(h, "session end", "", text, nil)
	defer func() { noteLost(note, logged, account.Ended(err)) }()
	return end(h, text)
}

func end(h here.Here, text string) error {
	caller, err := access.CurrentCaller()
	if err != nil {
		return err
	}
	database, err := user.Load(h)
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	uid, name, err := access.OwnerOf(database, caller, text)
	if err != nil {
		return err
	}
	return access.WithStore(h, "", func(s *image.Store) error {
		if err := access.CheckStore(s); err != nil {
			return err
		}
		return s.EndSession(uid, name)
	})
}
