package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/printable"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

var runCommand = command{
	name:     "run",
	granted:  true,
	passes:   true,
	rootless: asCaller,
	traits:   early | lean,
	synopsis: "[flags] IMAGE [--] COMMAND [ARG...]; in a project (mayfly.toml): [flags] -- COMMAND [ARG...], [flags] NAME",
	summary:  "run a command in a throw-away container of an image",
	examples: []string{
		"runtime run deb12-i386 -- ./build.sh",
		"runtime run --bind-ro /srv/sdk:/sdk --env CC=gcc-12 deb12-i386 make -j4",
		"runtime run --timeout 30m --writable deb12-i386 sh -c 'make && make check'",
		"runtime run --detach --name build-1 deb12-i386 ./build.sh",
		"runtime run --dry-run deb12-i386 true",
		"runtime run -- make",
		"runtime run build",
	},
	setUp: func(flags *flag.FlagSet) action {
		o := declare(flags)
		return func(self process, args []string) (int, error) {
			if err := o.arguments(flags, args, false); err != nil {
				return exit(err)
			}
			if len(o.command) == 0 && (o.image != "" || o.session != "") {
				return exit(o.noCommand())
			}
			return o.launch(self.Here)
		}
	},
}

var shellCommand = command{
	name:     "shell",
	granted:  true,
	passes:   true,
	rootless: asCaller,
	traits:   early | lean,
	synopsis: "[flags] IMAGE [-- COMMAND [ARG...]]; in a project (mayfly.toml): [flags] [-- COMMAND [ARG...]]",
	summary:  "start a login shell in a throw-away container of an image",
	examples: []string{
		"runtime shell deb12-i386",
		"runtime shell --writable --bind ~/src:/src --chdir /src deb12-i386",
		"runtime shell deb12-i386 -- make",
	},
	setUp: func(flags *flag.FlagSet) action {
		o := declare(flags)
		noLogin := flags.Bool("no-login", false, "do not start a login shell: the shell reads no .profile or similar file")
		return func(self process, args []string) (int, error) {
			if err := o.arguments(flags, args, true); err != nil {
				return exit(err)
			}
			o.login, o.noLogin = true, *noLogin
			return o.launch(self.Here)
		}
	},
}

// launch runs the request. It reports it to the user, to the system's log, and in the
// files that were asked for.
func (o *options) launch(h here.Here) (int, error) {
	switch {
	case o.dryRun:
		return o.decide(h)
	case o.detached == "" && o.leaves:
		return o.detach(h)
	}
	reports, err := o.openReports()
	if err != nil {
		return status.ExitFailure, err
	}
	how, err := o.attempt(h, reports)
	if err == nil {
		if err = reports.writeInputs(how); err == nil {
			err = reports.writeProof(h, how)
		}
		if err != nil && how.ExitCode() != 0 {
			warn(err.Error()) // the command's exit status says more
			err = nil
		}
	}
	reports.forget()
	if failed := reports.write(how, err); failed != nil {
		warn(failed.Error())
	}
	if reasonOf(err) == status.ImageUnknown {
		err = o.explainUnknown(err)
	}
	if err != nil {
		return status.ExitCodeOf(err), err
	}
	return how.ExitCode(), nil
}

// decide prints the plan and runs nothing.
func (o *options) decide(h here.Here) (int, error) {
	if err := o.readEnvironment(); err != nil {
		return status.ExitFailure, err
	}
	r, err := o.request()
	if err == nil {
		err = inherit.Pass(h, &r, o.preserve)
	}
	if err == nil {
		err = inherit.Keep(r.Passing.Descriptors()...)
	}
	if err != nil {
		return status.ExitFailure, err
	}
	plan, err := runtime.Decide(h, r)
	if err != nil {
		return status.ExitFailure, err
	}
	return 0, printJSON(plan)
}

// attempt makes the request and runs it.
func (o *options) attempt(h here.Here, reports *reports) (how status.Status, err error) {
	if err := o.readEnvironment(); err != nil { // a signal still ends it
		return how, err
	}
	signals, err := listen()
	if err != nil {
		return how, err
	}
	ctx := context.Background()
	if o.dieWithParent {
		if ctx, err = untilParentEnds(); err != nil {
			return how, err
		}
	}
	r, err := o.request()
	if err != nil {
		return how, err
	}
	if err := inherit.Pass(h, &r, o.preserve); err != nil {
		return how, err
	}
	if err := inherit.Keep(r.Passing.Descriptors()...); err != nil {
		return how, err
	}
	end := time.Now().Add(o.wait)
	for {
		how, err = o.run(ctx, h, r, signals, reports)
		if !errors.Is(err, state.ErrTooMany) || o.wait == 0 {
			return how, err
		}
		if err := o.awaitSlot(ctx, h, reports.plan, signals, end, err); err != nil {
			return how, err
		}
	}
}

// run runs the request once and tells the user of it.
func (o *options) run(ctx context.Context, h here.Here, r plan.Request, signals <-chan os.Signal, reports *reports) (status.Status, error) {
	again := reports.plan != nil
	titled := false
	defer func() {
		if titled {
			restoreTitle()
		}
	}()
	how, err := runtime.Run(ctx, h, r, runtime.Options{Signals: signals, Note: o.warn, Warn: warn, Digest: reports.setDigest,
		Opened: func(opened inputs.Opened) { reports.opened = &opened },
		Decided: func(p *plan.Plan) (io.Writer, error) {
			reports.plan = p
			if reports.proof != nil && p.Root.Version == 0 {
				return nil, fmt.Errorf("--provenance: image %s has no versions, so no digest: `runtime image import NEW %s` makes an image that has", p.Root.Image, p.Spec.Root.Path)
			}
			if !again {
				if limitations := p.Limitations; limitations != "" {
					o.warn(limitations)
				}
				releaseLater()
			}
			if !again || o.verbose { // each attempt has another name
				titled = o.printStart(p)
			}
			if reports.record == nil {
				return nil, nil
			}
			_ = reports.record.Truncate(0) // of what an attempt before has written
			return reports.record, nil
		}})
	if reports.plan == nil {
		return how, err
	}
	limited := printLimits(reports.plan, how)
	if err == nil && !limited {
		o.printEnd(reports.plan, how)
	}
	return how, err
}

// warn prints a warning that --quiet does not suppress.
func warn(text string) { message("runtime: %s", text) }

func printJSON(v any) error {
	data, err := printable.JSON(v, "  ")
	if err == nil {
		_, err = stdout.Write(data)
	}
	return err
}
