package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"mayfly/runtime/plan"
	"mayfly/runtime/status"
)

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

func message(format string, args ...any) {
	fmt.Fprintln(os.Stderr, printableLine(fmt.Sprintf(format, args...)))
}
