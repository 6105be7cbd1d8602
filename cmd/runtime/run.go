package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	flag "github.com/spf13/pflag"

	"mayfly/runtime"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/plan"
	"mayfly/runtime/printable"
	"mayfly/runtime/status"
)

var runCommand = command{
	name:     "run",
	granted:  true,
	passes:   true,
	rootless: asCaller,
	traits:   early | lean,
	synopsis: "[flags] IMAGE [--] COMMAND [ARG...]",
	summary:  "run a command in a throw-away container of an image",
	examples: []string{
		"runtime run deb12-i386 -- ./build.sh",
		"runtime run --bind-ro /srv/sdk:/sdk --env CC=gcc-12 deb12-i386 make -j4",
		"runtime run --timeout 30m --writable deb12-i386 sh -c 'make && make check'",
		"runtime run --dry-run deb12-i386 true",
	},
	setUp: func(flags *flag.FlagSet) action {
		o := declare(flags)
		return func(self process, args []string) (int, error) {
			if err := o.split(flags, args); err != nil {
				return exit(err)
			}
			if len(o.command) == 0 && (o.image != "" || o.session != "") {
				return status.ExitFailure, errors.New("no command given: `runtime shell IMAGE` starts a shell")
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
	synopsis: "[flags] IMAGE [-- COMMAND [ARG...]]",
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
			if err := o.split(flags, args); err != nil {
				return exit(err)
			}
			o.login, o.noLogin = true, *noLogin
			return o.launch(self.Here)
		}
	},
}

// launch runs the request. It reports it to the user and to the system's log.
func (o *options) launch(h here.Here) (int, error) {
	signals, err := listen()
	if err != nil {
		return status.ExitFailure, err
	}
	ctx := context.Background()
	if o.dieWithParent {
		if ctx, err = untilParentEnds(); err != nil {
			return status.ExitFailure, err
		}
	}
	r, err := o.request()
	if err != nil {
		return status.ExitFailure, err
	}
	if err := inherit.Pass(h, &r, o.preserve); err != nil {
		return status.ExitFailure, err
	}
	if err := inherit.Keep(r.Passing.Descriptors()...); err != nil {
		return status.ExitFailure, err
	}
	if o.dryRun {
		plan, err := runtime.Decide(h, r)
		if err != nil {
			return status.ExitFailure, err
		}
		return 0, printJSON(plan)
	}
	return o.run(ctx, h, r, signals)
}

// run runs the request and tells the user of it.
func (o *options) run(ctx context.Context, h here.Here, r plan.Request, signals <-chan os.Signal) (int, error) {
	var decided *plan.Plan // the last that there was
	var record *os.File    // the last attempt's
	defer func() { _ = record.Close() }()
	how, err := runtime.Run(ctx, h, r, runtime.Options{Signals: signals, Note: o.warn, Warn: warn,
		Decided: func(p *plan.Plan) (io.Writer, error) {
			decided = p
			if limitations := p.Limitations; limitations != "" {
				o.warn(limitations)
			}
			o.printStart(p)
			releaseLater()
			if o.record == "" {
				return nil, nil
			}
			_ = record.Close()
			var err error
			if record, err = os.OpenFile(o.record, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
				return nil, fmt.Errorf("--log: %w", err)
			}
			return record, nil
		}})
	if decided == nil {
		return status.ExitCodeOf(err), err
	}
	limited := printLimits(decided, how)
	if err := o.writeStats(how); err != nil {
		o.warn(err.Error())
	}
	if err != nil {
		return status.ExitCodeOf(err), err
	}
	if o.printsState(decided) && !limited {
		message("Container %s %s.", decided.Container, how)
	}
	return how.ExitCode(), nil
}

// printLimits says which limits the command reached: the exit status is the same for
// all of them. It returns whether a limit ended the command.
func printLimits(plan *plan.Plan, status status.Status) bool {
	if status.TimedOut {
		message("runtime: ended: the command ran longer than its limit of %s", plan.Timeout)
	}
	if status.Flooded {
		message("runtime: ended: the command wrote more than its limit of %d bytes", plan.OutputLimit)
	}
	if status.OutOfMemory > 0 {
		limit := plan.Spec.Linux.Resources.Unified["memory.max"] + " bytes"
		if limit == " bytes" {
			limit = "what it is part of"
		}
		message("runtime: out of memory: the kernel killed %d of the container's processes at its limit of %s", status.OutOfMemory, limit)
	}
	return status.TimedOut || status.Flooded
}

// writeStats writes what the container has used (--stats). The process has only the
// caller's rights on files here.
func (o *options) writeStats(s status.Status) error {
	if s.Used == nil {
		return nil
	}
	data, err := printable.JSON(s.Report(), "")
	if err != nil {
		return err
	}
	if o.stats == "-" {
		_, err = os.Stderr.Write(data)
	} else {
		err = os.WriteFile(o.stats, data, 0o666)
	}
	if err != nil {
		return fmt.Errorf("--stats: %w", err)
	}
	return nil
}

func (o *options) printsState(plan *plan.Plan) bool {
	return o.verbose || !o.quiet && plan.Spec.Process.Terminal
}

func (o *options) printStart(plan *plan.Plan) {
	if !o.printsState(plan) {
		return
	}
	message("Spawning container %s on %s.", plan.Container, plan.Path())
	if plan.Spec.Process.Terminal {
		message("Press ^] three times within 1s to kill container.")
	}
}

// warn prints a warning, unless --quiet is given.
func (o *options) warn(text string) {
	if !o.quiet {
		message("runtime: %s", text)
	}
}

// warn prints a warning that --quiet does not suppress.
func warn(text string) { message("runtime: %s", text) }

func message(format string, args ...any) {
	fmt.Fprintln(os.Stderr, printableLine(fmt.Sprintf(format, args...)))
}

func printJSON(v any) error {
	data, err := printable.JSON(v, "  ")
	if err == nil {
		_, err = stdout.Write(data)
	}
	return err
}
