package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	flag "github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/plan"
	"mayfly/runtime/provenance"
	"mayfly/runtime/status"
)

// mostStatement bounds the file of a statement.
const mostStatement = 64 << 20

// exitDiffers is the exit status where outputs differ.
const exitDiffers = 1

var verifyProvenance = command{
	name:     "verify-provenance",
	synopsis: "[--signers FILE] STATEMENT",
	summary:  "run what a statement tells in the same image again, and compare what is made",
	examples: []string{"runtime verify-provenance build.json", "runtime verify-provenance --signers signers build.json"},
	setUp: func(flags *flag.FlagSet) action {
		v := &verification{}
		flags.StringVar(&v.signers, "signers", "", "`FILE` of allowed signers (see ssh-keygen(1)) or public key of minisign: one of them must have signed the statement")
		flags.BoolVar(&v.noRun, "no-run", false, "only check the signature and the outputs that are here")
		flags.BoolVar(&v.here, "here", false, "run in the current directory, not in a checkout of the statement's commit")
		asJSON := jsonFlag(flags)
		return func(_ process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "STATEMENT")
			if err != nil {
				return exit(err)
			}
			if flags.Changed("signers") && v.signers == "" {
				return exit(errors.New("--signers: the FILE is empty"))
			}
			return v.verify(args[0], *asJSON)
		}
	},
}

// A verification runs a build again.
type verification struct {
	signers     string
	noRun, here bool
	statement   *provenance.Statement
	name        string // of its file
	made        string // temporary directory of the checkout; "": there is none
	project     string // the host's directory of the project, or of what is there of it
	inside      string // its place in the container
	outputs     string // the host's directory from which the globs of outputs begin
}

// A verified is what a verification prints.
type verified struct {
	Same   bool                    `json:"same"` // all files
	Ran    bool                    `json:"ran"`  // they were made again
	Signer string                  `json:"signer,omitempty"`
	Files  []provenance.Comparison `json:"files"`
}

func (v *verification) verify(name string, asJSON bool) (int, error) {
	v.name = name
	signer, err := v.read(name)
	if err != nil {
		return exit(fmt.Errorf("%s: %w", name, err))
	}
	if err := v.prepare(); err != nil {
		return exit(err)
	}
	defer v.clear()
	var since time.Time
	if !v.noRun {
		if since, err = provenance.Now(); err == nil {
			err = v.run()
		}
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == status.ExitFailure {
		return exit(errors.New("the run could not be made again (exit status 125)")) // the program has said why
	}
	if err != nil {
		return exit(err)
	}
	p := v.statement.Predicate.Definition.Parameters
	files, _, err := outputsIn(v.outputs, p.Outputs, v.ours())
	if err != nil {
		return exit(err)
	}
	now, err := provenance.Digests(v.outputs, files, since)
	if err != nil {
		return exit(err)
	}
	result := verified{Ran: !v.noRun, Signer: signer, Files: provenance.Compare(v.statement.Subject, now)}
	different := slices.DeleteFunc(slices.Clone(result.Files), provenance.Comparison.Same)
	result.Same = len(different) == 0
	if asJSON {
		err = printJSON(result)
	} else {
		v.print(result, different)
	}
	if err == nil && !result.Same {
		return exitDiffers, nil
	}
	return exit(err)
}

// read reads the statement, and checks its signature before anything else.
func (v *verification) read(name string) (signer string, err error) {
	text, err := readSmall(name, mostStatement)
	if err != nil {
		return "", err
	}
	if v.signers != "" {
		if signer, err = provenance.Verify(v.signers, name, []byte(text), outputOf); err != nil {
			return "", err
		}
		message("runtime: signed by %s", signer)
	} else if !v.noRun {
		warn("whoever wrote the statement chose the command that runs now: --signers says whom to believe")
	}
	v.statement, err = provenance.Parse([]byte(text))
	return signer, err
}

// ours are the files that belong to the statement, and to no build.
func (v *verification) ours() (list []string) {
	for _, name := range append(signatures(v.name), v.name) {
		if full, err := fullName(name); err == nil {
			list = append(list, full)
		}
	}
	return list
}

// run runs the command of the statement again, in a container of the same image, with
// the sources where they were. An error that wraps exec.ExitError with
// status.ExitFailure is one that the program has told.
func (v *verification) run() error {
	p := v.statement.Predicate.Definition.Parameters
	there, _, err := outputsIn(v.outputs, p.Outputs, v.ours())
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("%q is there already: verify in a directory with the sources alone", there[0])
	}
	flags := append(slices.Clone(p.Flags), v.environment()...)
	switch place, err := os.Stat(v.inside); {
	case v.inside == v.project:
	case err != nil || !place.IsDir(): // a mount point below a bind is not made
		warn(fmt.Sprintf("the sources are in %q, not in %q as they were: here is no such directory", v.project, v.inside))
		flags = append(flags, "--bind="+plan.EscapeBind(v.project)) // of which the run's directory may be a part
	default:
		flags = append(flags, "--bind="+plan.EscapeBind(v.project)+":"+plan.EscapeBind(v.inside))
		if !slices.ContainsFunc(flags, func(text string) bool { return strings.HasPrefix(text, "--chdir=") }) {
			flags = append(flags, "--chdir="+p.Directory)
		}
	}
	message("runtime: in %s again: %s", p.Image, strings.Join(p.Command, " "))
	run := itself("runtime", slices.Concat([]string{"run", "--quiet"}, flags, []string{p.Image, "--"}, p.Command)...)
	run.Dir, run.Env = v.outputs, access.CallerEnviron()
	run.Stdout, run.Stderr = os.Stderr, os.Stderr
	err = waitPassing(run)
	code := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() != status.ExitFailure {
		code, err = ended.ExitCode(), nil
	}
	if err == nil && code != v.statement.Exit() {
		err = fmt.Errorf("the command has ended with exit status %d, in the statement it is %d", code, v.statement.Exit())
	}
	return err
}

// waitPassing starts a program and waits for it. Signals that ask for an end are passed
// on, so that this process clears up when it has ended.
func waitPassing(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	if err := startAsCalled(cmd); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGINT || !onTerminal() { // from there it has come to both
				_ = cmd.Process.Signal(s)
			}
		case err := <-ended:
			return err
		}
	}
}

// onTerminal tells whether this process is a job of a terminal.
func onTerminal() bool {
	for fd := range 3 {
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			return group == unix.Getpgrp()
		}
	}
	return false
}

// environment returns flags for the variables whose values the statement has, and tells
// of those that the command had and has not now.
func (v *verification) environment() (flags []string) {
	p := v.statement.Predicate.Definition.Parameters
	here := access.CallerEnviron()
	var missing []string
	for _, flag := range p.Flags {
		name, is := strings.CutPrefix(flag, "--env=")
		if is && !strings.Contains(name, "=") && p.Env[name] == nil && !slices.ContainsFunc(here, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		warn("the command had variables whose values are not told, and which are not set here: " + strings.Join(missing, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		if value := p.Env[name]; value != nil {
			flags = append(flags, "--env="+name+"="+*value)
		}
	}
	return flags
}

func (v *verification) print(result verified, different []provenance.Comparison) {
	files := count(len(result.Files), "file")
	switch {
	case result.Same && result.Ran:
		fmt.Fprintf(stdout, "reproducible: %s as in the statement\n", files)
	case result.Same:
		fmt.Fprintf(stdout, "here as in the statement: %s\n", files)
	case result.Ran:
		fmt.Fprintf(stdout, "not reproducible: %d of %s\n", len(different), files)
	default:
		fmt.Fprintf(stdout, "here other than in the statement: %d of %s\n", len(different), files)
	}
	for _, c := range different {
		switch {
		case c.Now == "":
			fmt.Fprintf(stdout, "missing  %s\n", printableLine(c.Name))
		case c.Recorded == "":
			fmt.Fprintf(stdout, "new      %s\n", printableLine(c.Name))
		default:
			fmt.Fprintf(stdout, "differs  %s\n", printableLine(c.Name))
			if result.Signer != "" {
				v.compare(c)
			}
		}
	}
}

// compare has diffoscope(1) compare two files, if it is there, and the file of the
// statement is too: in the current directory. It reads what the build has made, outside
// of a container: so only for a statement that somebody who is trusted has signed.
func (v *verification) compare(c provenance.Comparison) {
	old, err := provenance.Digests(".", []string{c.Name}, time.Time{})
	if v.made == "" || err != nil || old[0].Digest["sha256"] != c.Recorded {
		return
	}
	if _, err := exec.LookPath("diffoscope"); err != nil {
		return
	}
	out, _ := outputOf(exec.Command("diffoscope", "--", c.Name, filepath.Join(v.outputs, c.Name))) // 1: they differ
	for line := range strings.Lines(string(out)) {
		fmt.Fprintln(stdout, printableLine(strings.TrimSuffix(line, "\n")))
	}
}
