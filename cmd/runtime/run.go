package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	flag "github.com/spf13/pflag"
	"golang.org/x/term"

	"mayfly/runtime"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
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
	synopsis: "[flags] IMAGE [--] COMMAND [ARG...]",
	summary:  "run a command in a throw-away container of an image",
	examples: []string{
		"runtime run deb12-i386 -- ./build.sh",
		"runtime run --bind-ro /srv/sdk:/sdk --env CC=gcc-12 deb12-i386 make -j4",
		"runtime run --timeout 30m --writable deb12-i386 sh -c 'make && make check'",
		"runtime run --detach --name build-1 deb12-i386 ./build.sh",
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
	if failed := reports.write(how, err); failed != nil {
		warn(failed.Error())
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
		Decided: func(p *plan.Plan) (io.Writer, error) {
			reports.plan = p
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

// onTerminal tells whether the user sees a terminal of the command's.
func (o *options) onTerminal(p *plan.Plan) bool { return !o.quiet && p.Spec.Process.Terminal }

// printStart tells what begins: with --verbose in the words of the nspawn-run script,
// for a shell in a line of what a newcomer must know.
// It returns whether it has set the terminal's title.
func (o *options) printStart(p *plan.Plan) (titled bool) {
	switch {
	case o.verbose:
		message("Spawning container %s on %s.", p.Container, p.Path())
		if p.Spec.Process.Terminal {
			message("Press ^] three times within 1s to kill container.")
		}
	case o.login && o.onTerminal(p):
		message("%s: %s; ^] three times: kill", p.ImageReference(), strings.Join(whatHolds(p), "; "))
		setTitle(p.ImageReference())
		return true
	}
	return false
}

// whatHolds says what becomes of changes, and how to be root.
func whatHolds(p *plan.Plan) []string {
	var holds []string
	switch {
	case p.Root.Kind == plan.RootSession:
		holds = append(holds, "session "+p.Root.Name+", changes are kept")
	case p.Root.Kind == plan.RootImage:
		holds = append(holds, "the image itself, changes are kept")
	case p.Spec.Root.Readonly:
		holds = append(holds, "read-only except for binds such as your home")
	default:
		holds = append(holds, "changes are discarded, except in binds such as your home")
	}
	if p.Spec.Process.User.UID != 0 {
		holds = append(holds, "for apt or sudo: --root")
	}
	return holds
}

// printEnd tells how a command has ended: always with --verbose, and of a shell on a
// terminal where it did not go well.
func (o *options) printEnd(p *plan.Plan, how status.Status) {
	if o.verbose || o.login && o.onTerminal(p) && how.ExitCode() != 0 {
		message("Container %s %s.", p.Container, how)
	}
}

// titled are the beginnings of the names (TERM) of terminals whose title can be set and
// put back.
var titled = []string{"xterm", "screen", "tmux", "rxvt", "alacritty", "foot", "kitty", "wezterm", "konsole", "gnome", "vte"}

func hasTitle() bool {
	kind := os.Getenv("TERM")
	return term.IsTerminal(2) && slices.ContainsFunc(titled, func(name string) bool { return strings.HasPrefix(kind, name) })
}

// setTitle keeps the terminal's title on its stack and sets another one.
func setTitle(text string) {
	if hasTitle() {
		fmt.Fprintf(os.Stderr, "\x1b[22;0t\x1b]0;%s\a", printableLine(text))
	}
}

func restoreTitle() {
	if hasTitle() {
		fmt.Fprint(os.Stderr, "\x1b[23;0t")
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
