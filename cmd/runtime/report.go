package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/printable"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// reports are the files of --stats and --status, open, and what goes into them. They
// are written whatever happens to the run. A nil file was not asked for.
type reports struct {
	options       *options
	stats, status *os.File
	own           *os.File        // of a detached run
	record        *os.File        // of --log: not a report, but opened with them
	inputs        *lateReport     // of --inputs
	allowed       *inputs.Allowed // nil: everything
	opened        *inputs.Opened  // nil: nothing ran, or it was not asked for
	proof         *proof          // of --provenance
	began         time.Time
	plan          *plan.Plan // the last that there was; nil: nothing was decided
	digest        atomic.Pointer[string]
}

// openReports opens the files. The process has only the caller's rights on files here,
// and has the descriptors that it was started with: FILE may name one (/dev/fd/3).
func (o *options) openReports() (*reports, error) {
	r := &reports{options: o, began: time.Now()}
	if err := o.checkProvenance(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		flag, name string
		file       **os.File
		mode       os.FileMode
	}{{"--stats", o.stats, &r.stats, 0o666}, {"--status", o.status, &r.status, 0o666}, {"--log", o.record, &r.record, 0o600}} {
		switch {
		case f.name == "":
		case f.name == "-" && f.flag != "--log":
			*f.file = os.Stderr
		default:
			opened, err := openFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, f.mode)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.flag, err)
			}
			*f.file = opened
		}
	}
	if err := errors.Join(r.openInputs(o), r.beginProof(o)); err != nil {
		r.forget()
		return nil, err
	}
	if o.detached != "" {
		var err error
		if r.own, err = openOwn(o.detached); err != nil {
			return nil, err
		}
		if o.held && isToEnd(r.own) {
			return nil, errToEnd
		}
		o.report = r.own
	}
	return r, nil
}

func (r *reports) setDigest(digest string) { r.digest.Store(&digest) }

// write writes how the run ended.
func (r *reports) write(how status.Status, err error) error {
	if r.stats == nil && r.status == nil && r.own == nil {
		return nil
	}
	report := status.ReportOf(how, err)
	if report.Reason == status.Machine {
		report.Reason = reasonOf(err)
	}
	report.Began, report.Ended = r.began.UTC(), time.Now().UTC()
	report.Image, report.Session, report.Command = r.options.image, r.options.session, r.options.command
	if p := r.plan; p != nil {
		report.Image, report.Version, report.Container, report.Command = p.Root.Image, p.Root.Version, p.Container, p.Spec.Process.Args
	}
	if report.Command == nil {
		report.Command = []string{}
	}
	if digest := r.digest.Load(); digest != nil {
		report.Digest = *digest
	}
	errs := []error{writeReport(r.stats, "--stats", report)}
	report.Usage = nil
	return errors.Join(append(errs, writeReport(r.status, "--status", report), writeReport(r.own, "--detached", report))...)
}

func writeReport(f *os.File, flag string, report status.Report) error {
	if f == nil {
		return nil
	}
	data, err := printable.JSON(report, "")
	if err == nil && flag == "--detached" {
		err = f.Truncate(0) // of what release has written
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if f != os.Stderr {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}

// reasonOf returns the reason of an error that is not of the command.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, state.ErrTooMany):
		return status.Busy
	case errors.Is(err, rule.ErrDenied), errors.Is(err, caller.ErrNotPermitted):
		return status.Refused
	case errors.Is(err, image.ErrUnknown), errors.Is(err, image.ErrNotHere):
		return status.ImageUnknown
	}
	return status.Machine
}

// recordsOf lists the records of an owner's containers.
func recordsOf(h here.Here, owner uint32) (records []state.Record, err error) {
	err = access.AsRoot(h, func() error {
		records, err = state.List(h, owner)
		return err
	})
	return records, err
}

// While a launch waits for its turn it looks often at first, then less often. Others
// may wait, too: each adds up to half to the time.
const (
	firstLook = 50 * time.Millisecond
	lookAgain = time.Second
)

// awaitSlot waits until the caller may run one container more (--wait). busy is the
// launch's error, which it returns when the time is over. A signal that asks for an end
// ends it.
func (o *options) awaitSlot(ctx context.Context, h here.Here, p *plan.Plan, signals <-chan os.Signal, end time.Time, busy error) error {
	if !o.waits {
		o.waits = true
		o.warn(strings.TrimSuffix(busy.Error(), " (`runtime ps`)") + ": waiting for one to end")
	}
	for pause := firstLook; ; pause = min(2*pause, lookAgain) {
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("%w, also after %v of waiting", busy, o.wait)
		}
		select {
		case <-time.After(min(left, pause+rand.N(pause/2))):
		case <-ctx.Done():
			return ctx.Err()
		case s := <-signals:
			signal, _ := s.(syscall.Signal)
			switch {
			case status.Terminates(s):
				return status.ErrInterrupted{Signal: signal}
			case signal == syscall.SIGTSTP:
				_ = nsexec.Suspend(false)
			}
			continue
		}
		if o.held && isToEnd(o.report) {
			return errToEnd
		}
		running, err := recordsOf(h, p.Owner.UID)
		if err != nil {
			return err
		}
		if len(running) < p.Containers {
			return nil
		}
	}
}

// forget ends the reports that the run has not come to.
func (r *reports) forget() {
	r.inputs.forget()
	if r.proof != nil {
		r.proof.file.forget()
	}
}
