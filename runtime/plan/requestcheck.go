package plan

import (
	"errors"
	"fmt"

	"mayfly/runtime/caller"
)

// Check refuses what goes together for nobody, or not for this caller. Nothing has been
// looked up yet: an error of that would hide what is wrong with the request.
func (r Request) Check(c caller.Caller, own bool) error {
	if err := r.Exclusions(); err != nil {
		return err
	}
	root := c.UID == 0
	switch {
	case own && !r.Resources.none():
		return fmt.Errorf("limits on what all processes together use: %w", caller.ErrNoGrant)
	case r.NoEphemeral && !root:
		return fmt.Errorf("--no-ephemeral changes the image for everybody: %w", caller.ErrNotPermitted)
	case r.RootIsCaller && own: // where nothing maps the owners of the image's files
		return fmt.Errorf("--root-as caller: %w", caller.ErrNoGrant)
	case r.RootIsCaller && root:
		return errors.New("--root-as caller is for others than root: root inside would be root of the host")
	case r.Terminal == Yes && !c.Terminal:
		return errors.New("--tty needs standard input and output on a terminal")
	}
	return r.Resources.check()
}

// Exclusions refuses what excludes each other, whoever asks.
func (r Request) Exclusions() error {
	switch {
	case r.RootInside && r.User != "":
		return errors.New("--root and --user exclude each other: root inside can become any user with su or setpriv")
	case r.Session != "" && (r.NoEphemeral || r.Writable):
		return errors.New("a session is writable, and keeps what is written: --writable and --no-ephemeral make no sense with it")
	case r.Draft != "" && !r.NoEphemeral:
		return errors.New("a draft is there to be changed")
	case r.NoEphemeral && r.Writable:
		return errors.New("--writable and --no-ephemeral exclude each other: the first throws changes away, the second keeps them")
	case r.Timeout < 0 || r.KillAfter < 0:
		return errors.New("a time limit cannot be negative")
	case r.OutputLimit < 0:
		return errors.New("an output limit cannot be negative")
	}
	return nil
}
