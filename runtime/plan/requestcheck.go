package plan

import (
	"errors"
	"fmt"

	"mayfly/runtime/caller"
)

// Check returns an error for a request that contradicts itself or is not permitted to
// this caller. It comes before anything is looked up, since an error of a lookup would
// hide what is wrong with the request.
func (r Request) Check(c caller.Caller, own bool) error {
	if err := r.Exclusions(); err != nil {
		return err
	}
	root := c.UID == 0
	switch {
	case own && !r.Resources.none():
		return fmt.Errorf("limits on what all processes together use: %w", caller.ErrNoGrant)
	case own && r.Watch:
		return fmt.Errorf("--inputs and --allow-inputs: %w", caller.ErrNoGrant)
	case r.NoEphemeral && !root:
		return fmt.Errorf("--no-ephemeral changes the image for everybody: %w", caller.ErrNotPermitted)
	case r.RootIsCaller && own: // nothing maps the owners of the image's files there
		return fmt.Errorf("--root-as caller: %w", caller.ErrNoGrant)
	case r.RootIsCaller && root:
		return errors.New("--root-as caller is for others than root: root inside would be root of the host")
	case r.Terminal == Yes && !c.Terminal:
		return errors.New("--tty needs standard input and output on a terminal")
	}
	return r.Resources.check()
}

// Exclusions returns an error for options that exclude each other, for every caller.
func (r Request) Exclusions() error {
	switch {
	case r.RootInside && r.User != "":
		return errors.New("--root and --user exclude each other: root inside can become any user with su or setpriv")
	case r.Session != "" && (r.NoEphemeral || r.Writable):
		return errors.New("a session is writable, and keeps what is written: --writable and --no-ephemeral make no sense with it")
	case r.Discard && r.Session == "":
		return errors.New("--discard goes with --session: changes to an image are discarded always")
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
