package runtime

import (
	"context"
	"errors"
	"fmt"

	"mayfly/nsexec"
	"mayfly/runtime/image"
)

// Run surveys, plans and executes a request.
func Run(ctx context.Context, r Request) (Status, error) {
	facts, err := Survey(r)
	if err != nil {
		return Status{}, err
	}
	plan, err := NewPlan(r, facts)
	if err != nil {
		return Status{}, err
	}
	return Execute(ctx, plan, facts.Caller, nil)
}

// Execute carries out a plan and leaves nothing behind, however the command ends.
// While it runs, the process's terminating signals are the command's. When the
// context is done, the container is killed. note, if any, is told what the user
// should know and is no error.
//
// The error tells that the command could not be run, with ExitCodeOf its exit
// status; how a command ended that ran is in the Status.
func Execute(ctx context.Context, p *Plan, caller Caller, note func(string)) (Status, error) {
	if note == nil {
		note = func(string) {}
	}
	if err := checkKernel(); err != nil {
		return Status{}, err
	}
	if err := checkPrivilege(); err != nil {
		return Status{}, err
	}
	if err := nsexec.Undumpable(); err != nil {
		return Status{}, err
	}
	store, img, err := open(p, caller)
	if err != nil {
		return Status{}, err
	}
	defer store.Close()
	defer img.Close()

	signals := listen()
	defer signals.stop()
	root := startRoot(p, store, img)
	l := &launch{plan: p, caller: caller, note: note, root: root}
	status, err := supervise(ctx, l, signals, store)
	if cleanup := root.Remove(); cleanup != nil {
		err = errors.Join(err, fmt.Errorf("clean up: %w; `runtime gc` tries again", cleanup))
	}
	return status, err
}

func open(p *Plan, caller Caller) (store *image.Store, img *image.Image, err error) {
	err = asRoot(caller, func() error {
		if store, err = image.Open(p.Store); err != nil {
			return err
		}
		if img, err = store.Image(p.Image); err != nil {
			return errors.Join(err, store.Close())
		}
		return nil
	})
	return store, img, err
}
