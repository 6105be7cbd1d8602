// Command runtime runs builds in throw-away containers. This package turns flags into
// requests, and results into exit codes. Package runtime does the rest.

// At each start the Go runtime would read the cgroup's CPU limit, to choose its number
// of threads. A launch uses two at most.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/nearest"
	"mayfly/runtime/printable"
	"mayfly/runtime/privilege"
	"mayfly/runtime/rootless"
	"mayfly/runtime/status"
)

func main() {
	if err := unhurry(); err != nil {
		os.Exit(fail(err))
	}
	b := bootstrap()
	h, err := rootless.Arrive(b)
	if err != nil {
		os.Exit(fail(err))
	}
	code := stdout.failed(dispatch(process{h, &b}, os.Args))
	inherit.Depart()
	os.Exit(code)
}

// A process is what this one is from its beginning on.
type process struct {
	here.Here
	bootstrap *rootless.Bootstrap
}

// dispatch finds the command by the program's name (argv[0]), then by its first
// arguments.
func dispatch(self process, argv []string) int {
	if len(argv) == 0 { // argc 0 is legal for execve(2), and an attack
		return fail(errors.New("called without a name"))
	}
	for _, c := range []command{nspawnRun, schrootCommand} {
		if filepath.Base(argv[0]) == c.name {
			return c.call(self, c.name, argv[1:])
		}
	}
	return call(self, "runtime", commands(), argv[1:])
}

// inFull replaces another name of a command within a group by its own.
func inFull(args []string) []string {
	if len(args) > 0 {
		switch args[0] {
		case "images":
			return append([]string{"image", "list"}, args[1:]...)
		case "--version":
			return append([]string{"version"}, args[1:]...)
		}
	}
	return args
}

// call finds a command in a list, and descends into its subcommands.
func call(self process, path string, list []command, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, overview(path, list))
		return status.ExitFailure
	}
	if args[0] == "help" { // of a command: as if --help followed its name
		args = append(slices.Clone(args[1:]), "--help")
	}
	if path == "runtime" {
		args = inFull(args)
	}
	if args[0] == "--help" || args[0] == "-h" {
		return show(overview(path, list))
	}
	for _, c := range list {
		if !c.is(args[0]) {
			continue
		}
		if c.sub != nil {
			return call(self, path+" "+c.name, c.sub(), args[1:])
		}
		return c.call(self, path+" "+c.name, args[1:])
	}
	return fail(fmt.Errorf("%s has no command %q: %s", path, args[0], commandElsewhere(path, list, args[0])))
}

// commandElsewhere says what there is here for a command of podman, docker, schroot or
// machinectl, else what may have been meant.
func commandElsewhere(path string, list []command, word string) string {
	if path == "runtime" {
		switch word {
		case "rm", "remove":
			return "a container is gone when its command has ended; `runtime image remove` and `runtime session end` remove images and sessions"
		case "rmi":
			return "`runtime image remove` removes images"
		case "pull", "import", "load":
			return "`runtime image import` makes an image of an archive, `runtime image create` of a Debian release"
		case "build":
			return "`runtime run build` runs the command build of mayfly.toml; `runtime image create` makes an image, by a recipe too"
		case "pin":
			return "`runtime project pin` writes the digest of the image into mayfly.toml"
		case "stop", "terminate":
			return "`runtime kill` ends a container's command"
		case "top", "stats":
			return "`runtime ps --watch` shows what containers use"
		case "start", "create", "enter", "login":
			return "`runtime shell IMAGE` starts a shell, `runtime session begin` a root file system that stays"
		case "save", "push":
			return "`runtime image export` writes an archive"
		}
	}
	if path == "runtime" && slices.ContainsFunc(imageCommands(), func(c command) bool { return c.is(word) }) {
		return "`runtime image " + word + "`"
	}
	var names []string
	for _, c := range list {
		names = append(append(names, c.name), c.aliases...)
	}
	return fmt.Sprintf("`%s --help` lists them%s", path, nearest.Advice(word, names, func(name string) string { return "`" + path + " " + name + "`" }))
}

// A command is one entry of the command line.
type command struct {
	name     string
	aliases  []string // other names, which --help does not list
	synopsis string   // arguments after the name
	summary  string
	examples []string
	sub      func() []command
	bare     bool // takes flags only
	granted  bool // uses the grant's capabilities; any other command gives them up first
	passes   bool // handles inherited descriptors itself: it may pass some to the command
	rootless rootlessMode
	traits   traits // what the entry point does for it
	failure  int    // exit status if the action is not reached; 0: that of errors
	// setUp declares flags and returns what runs after they are parsed.
	setUp func(*flag.FlagSet) action
}

// is tells whether a word names the command.
func (c command) is(word string) bool { return c.name == word || slices.Contains(c.aliases, word) }

// A rootlessMode says what a command does if the binary has no grant.
type rootlessMode int

const (
	needsGrant rootlessMode = iota
	asCaller                // it runs in a user namespace of the caller
	asRoot                  // it runs there as the namespace's root, which changes images
)

// An action runs a command with its remaining arguments, and returns the exit code.
type action func(self process, args []string) (int, error)

// commands returns the commands in the order of the help text.
func commands() []command {
	return []command{
		runCommand, shellCommand, psCommand, execCommand, killCommand, waitCommand, inspectCommand, logsCommand, attachCommand,
		projectCommand, verifyProvenance,
		{name: "session", summary: "begin, list and end sessions: writable snapshots that stay between runs", sub: sessionCommands},
		{name: "image", summary: "create, change, list and remove images", sub: imageCommands},
		{name: "store", summary: "set up the image store and show its state", sub: storeCommands},
		{name: "ci", summary: "what CI systems call: GitLab Runner, GitHub's runner, Buildkite's agent", sub: ciCommands},
		{name: "policy", summary: "check, explain and import the policy", sub: policyCommands},
		grantCommand, gcCommand, doctorCommand, completionCommand(), logCommand, asCallerCommand(), versionCommand,
	}
}

// declare declares the command's flags, and returns what runs after they are parsed, and
// whether --unprivileged was given.
func (c command) declare(path string) (*flag.FlagSet, action, *bool) {
	flags, unprivileged := newFlags(path), new(bool)
	run := c.setUp(flags)
	if c.rootless != needsGrant {
		flags.BoolVar(unprivileged, "unprivileged", false, "run rootless: in a user namespace of yours, with images of yours (default: if the binary has no grant)")
	}
	return flags, run, unprivileged
}

// invoked are the arguments of the command that runs.
var invoked []string

// call parses the arguments and runs the command. Flags end at the first argument that
// is not one: what follows an image belongs to the command in the container.
func (c command) call(self process, path string, args []string) int {
	invoked = args
	flags, run, unprivileged := c.declare(path)
	self, err := c.settle(self)
	if err != nil {
		return cmp.Or(c.failure, fail(err))
	}
	err = parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		return show(c.help(path, flags))
	}
	if err != nil {
		return cmp.Or(c.failure, fail(err))
	}
	if c.bare {
		if err := noArguments(flags.Args()); err != nil {
			return fail(err)
		}
	}
	if c.rootless != needsGrant {
		again, err := self.bootstrap.Wanted(self.Here, *unprivileged)
		if again {
			err = rootless.ExecuteAgain(restoreLimits)
		}
		if err != nil {
			return cmp.Or(c.failure, fail(err))
		}
	}
	if !c.passes {
		if err := inherit.Keep(); err != nil {
			return fail(err)
		}
	}
	code, err := run(self, flags.Args())
	if errors.Is(err, flag.ErrHelp) { // --help stands between the arguments
		return show(c.help(path, flags))
	}
	if err != nil {
		fail(err)
	}
	return code
}

// settle enters the caller's user namespace if the command is rootless, and sets the
// capabilities. It runs before the caller's arguments are read.
func (c command) settle(self process) (process, error) {
	if c.rootless != needsGrant {
		h, err := self.bootstrap.Enter(self.Here, c.rootless == asRoot)
		if err != nil {
			return self, err
		}
		self.Here = h
	}
	if c.granted {
		return self, privilege.Settle(self.Here)
	}
	return self, privilege.Renounce()
}

func (c command) help(path string, flags *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nusage: %s\n", path, c.summary, strings.TrimSpace(path+" "+c.synopsis))
	heading := "\nflags:\n"
	flags.VisitAll(func(f *flag.Flag) {
		if !f.Hidden {
			fmt.Fprint(&b, heading, flagHelp(f))
			heading = ""
		}
	})
	if len(c.examples) > 0 {
		fmt.Fprintf(&b, "\nexamples:\n  %s\n", strings.Join(c.examples, "\n  "))
	}
	return b.String()
}

// flagHelp returns a flag's help: one line, or two if its name is long.
func flagHelp(f *flag.Flag) string {
	value, usage := flag.UnquoteUsage(f)
	name := dashed(f.Name)
	if f.Shorthand != "" && f.Shorthand != f.Name {
		name = "-" + f.Shorthand + ", " + name
	}
	if f.NoOptDefVal != "" && value != "" {
		name += "[=" + value + "]"
	} else {
		name = strings.TrimSpace(name + " " + value)
	}
	gap := "\n" + strings.Repeat(" ", 26)
	if len(name) < 23 {
		gap = strings.Repeat(" ", 24-len(name))
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" && f.DefValue != "0" {
		usage += " (default " + f.DefValue + ")"
	}
	return "  " + name + gap + usage + "\n"
}

func overview(path string, list []command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s COMMAND ...\n\ncommands:\n", path)
	width := 10
	for _, c := range list {
		width = max(width, len(c.name))
	}
	for _, c := range list {
		fmt.Fprintf(&b, "  %-*s %s\n", width, c.name, c.summary)
	}
	fmt.Fprintf(&b, "\nSee `%s COMMAND --help`.\n", path)
	return b.String()
}

func show(text string) int {
	fmt.Fprint(stdout, text)
	return 0
}

// fail prints an error on one line, and returns its exit code. The error may contain
// names that anybody has chosen, so characters that control a terminal are escaped.
func fail(err error) int {
	fmt.Fprintln(os.Stderr, "runtime: "+printableLine(err.Error()))
	return status.ExitCodeOf(err)
}

// printableLine returns a text on one line, without characters that control a terminal.
func printableLine(text string) string { return printable.Text(strings.ReplaceAll(text, "\n", "; ")) }
