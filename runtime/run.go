// Package runtime runs one command in a throw-away container: a snapshot of an image,
// in namespaces of its own, as the user who asked.
//
// A plan.Request says what is wanted, a status.Status how it ended. Between them are
// four rooms, one after the other, for every launch: survey finds the facts, plan
// decides, supervisor carries the plan out, and audit writes to the system's log.
//
//	r := plan.Request{Image: "deb12-i386", Command: []string{"make"}}
//	how, err := runtime.Run(ctx, h, r, runtime.Options{})
//
// Package main calls it, on any thread, after privilege.Settle.
package runtime

import (
	"context"
	"errors"
	"io"
	"os"

	"mayfly/runtime/audit"
	"mayfly/runtime/here"
	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/status"
	"mayfly/runtime/supervisor"
	"mayfly/runtime/survey"
)

// Options connect a run with the program that asks for it. All fields may be zero.
type Options struct {
	// Signals, Note and Warn are those of supervisor.Options.
	Signals    <-chan os.Signal
	Note, Warn func(text string)
	// Decided is called when there is a plan and nothing has been made yet. It may
	// return a writer for a copy of the output, as an asciicast. An error ends the run.
	Decided func(*plan.Plan) (record io.Writer, err error)
	// Digest is called before the command is executed, if it is to run in a version
	// that has a digest. It may be called on another thread.
	Digest func(digest string)
	// Opened is that of supervisor.Options.
	Opened func(inputs.Opened)
}

// Run carries out a request and leaves nothing behind, however the command ends. When
// the context is done the container is killed. h is where the program is.
//
// The error means that the command could not be run; status.ExitCodeOf is its exit
// status. How a command that ran has ended is in the Status.
func Run(ctx context.Context, h here.Here, r plan.Request, o Options) (status.Status, error) {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Note
	}
	account, root, p, err := decideOn(h, r)
	defer root.Close()
	if err != nil {
		return status.Status{}, err
	}
	s := supervisor.Options{Store: root.Store, Image: root.Image, Signals: o.Signals, Note: o.Note, Warn: o.Warn, Opened: o.Opened,
		Started: func(digest string) error {
			if o.Digest != nil {
				o.Digest(digest)
			}
			return account.Started(p, digest, o.Note)
		}}
	if o.Decided != nil {
		if s.Record, err = o.Decided(p); err != nil {
			return status.Status{}, err
		}
	}
	how, err := supervisor.Execute(ctx, h, p, s)
	if logged := account.Ended(p, how, err); logged != nil {
		o.Warn(logged.Error()) // a build does not fail because the log does not respond
	}
	return how, err
}

// Decide returns the plan of a request and runs nothing. It logs a refusal, as Run
// does.
func Decide(h here.Here, r plan.Request) (*plan.Plan, error) {
	_, root, p, err := decideOn(h, r)
	root.Close()
	return p, err
}

// decideOn surveys and plans. The account is that of a launch to come. The caller
// closes the root, also with an error.
func decideOn(h here.Here, r plan.Request) (*audit.Launch, survey.Root, *plan.Plan, error) {
	if err := survey.Resolve(h, &r); err != nil {
		return nil, survey.Root{}, nil, err
	}
	account := audit.BeginLaunch(h, r)
	facts, root, err := survey.Find(h, r)
	account.Facts = facts
	if err == nil {
		var p *plan.Plan
		if p, err = plan.New(r, facts); err == nil {
			return account, root, p, nil
		}
	}
	return nil, root, nil, errors.Join(err, account.Refused(err))
}
