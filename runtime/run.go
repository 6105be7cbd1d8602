// Package runtime runs one command in a throw-away container: a snapshot of an
// image, in namespaces of its own, as the user who asked.
//
// A Request says what is wanted, a Status how it ended. Between them are four rooms, one after the
// other, for every launch there is: survey finds the facts, plan decides, supervisor carries the plan
// out, audit tells the system's log.
//
//	status, err := runtime.Run(ctx, here.Here{}, runtime.Request{Image: "deb12-i386", Command: []string{"make"}}, runtime.Options{})
//
// It is called by package main, on any thread, after privilege.Settle.
package runtime

import (
	"context"
	"errors"
	"io"
	"os"

	"mayfly/runtime/audit"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/status"
	"mayfly/runtime/supervisor"
	"mayfly/runtime/survey"
)

// Options are what the outside world has to do with a run. All fields may be zero.
type Options struct {
	// Signals returns a channel of signals for the command. It is called before anything
	// is made that would outlive the process, and may wait until signals are received.
	Signals func() <-chan os.Signal
	Note    func(text string) // is told what the user should know and is no error
	Warn    func(text string) // is told what the user must know; nil: Note is
	// Decided is called when there is a plan, and nothing has been made yet. It may return where a
	// copy of what is shown goes, as an asciicast; an error ends the run.
	Decided func(*plan.Plan) (record io.Writer, err error)
}

// replacements bounds how often a launch begins again because the version that it had found was removed.
const replacements = 5

// Run carries out a request and leaves nothing behind, however the command ends. When the context
// is done, the container is killed.
//
// The error tells that the command could not be run, with ExitCodeOf its exit status; how a command
// ended that ran is in the Status.
func Run(ctx context.Context, h here.Here, r plan.Request, o Options) (status.Status, error) {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Note
	}
	for range replacements {
		status, err := attempt(ctx, h, r, o)
		if !errors.Is(err, supervisor.ErrReplaced) {
			return status, err
		}
	}
	return attempt(ctx, h, r, o)
}

// Decide is Run without the launch: it tells what would be done. A refusal is logged all the same.
func Decide(h here.Here, r plan.Request) (*plan.Plan, error) {
	_, p, err := decideOn(h, r)
	return p, err
}

func decideOn(h here.Here, r plan.Request) (*audit.Launch, *plan.Plan, error) {
	if err := survey.Resolve(h, &r); err != nil {
		return nil, nil, err
	}
	account := audit.BeginLaunch(h, r)
	facts, err := survey.Find(h, r)
	account.Facts = facts
	if err == nil {
		var p *plan.Plan
		if p, err = plan.New(r, facts); err == nil {
			return account, p, nil
		}
	}
	return nil, nil, errors.Join(err, account.Refused(err))
}

func attempt(ctx context.Context, h here.Here, r plan.Request, o Options) (status.Status, error) {
	account, p, err := decideOn(h, r)
	if err != nil {
		return status.Status{}, err
	}
	s := supervisor.Options{Signals: o.Signals, Note: o.Note, Warn: o.Warn,
		Started: func(digest string) error { return account.Started(p, digest, o.Note) }}
	if o.Decided != nil {
		if s.Record, err = o.Decided(p); err != nil {
			return status.Status{}, err
		}
	}
	how, err := supervisor.Execute(ctx, h, p, s)
	if errors.Is(err, supervisor.ErrReplaced) {
		return status.Status{}, err
	}
	if logged := account.Ended(p, how, err); logged != nil {
		o.Warn(logged.Error()) // a log that does not listen is no reason for a build to fail
	}
	return how, err
}
