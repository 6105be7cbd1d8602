package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	flag "github.com/spf13/pflag"

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
	tree        string // directory of the project's sources, on the host
	made        string // temporary directory; "": tree is the caller's
}

// A verified is what a verification prints.
type verified struct {
	Reproducible bool                    `json:"reproducible"`
	Signer       string                  `json:"signer,omitempty"`
	Files        []provenance.Comparison `json:"files"`
}

func (v *verification) verify(name string, asJSON bool) (int, error) {
	signer, err := v.read(name)
	if err != nil {
		return exit(fmt.Errorf("%s: %w", name, err))
	}
	if err := v.prepare(); err != nil {
		return exit(err)
	}
	defer v.clear()
	dir := v.outputDirectory()
	since, err := provenance.Now()
	if err == nil && !v.noRun {
		err = v.run(dir)
	} else {
		since = time.Time{}
	}
	if err != nil {
		return exit(err)
	}
	p := v.statement.Predicate.Definition.Parameters
	files, _, err := provenance.Outputs(dir, p.Outputs)
	if err != nil {
		return exit(err)
	}
	now, err := provenance.Digests(dir, files, since)
	if err != nil {
		return exit(err)
	}
	result := verified{Signer: signer, Files: provenance.Compare(v.statement.Subject, now)}
	different := slices.DeleteFunc(slices.Clone(result.Files), provenance.Comparison.Same)
	result.Reproducible = len(different) == 0
	if asJSON {
		err = printJSON(result)
	} else {
		v.print(result, different, dir)
	}
	if err == nil && !result.Reproducible {
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

// prepare finds the sources: a new checkout of the commit that the statement names, where
// this is the repository; else the current directory.
func (v *verification) prepare() (err error) {
	if v.tree, err = os.Getwd(); err != nil {
		return err
	}
	source := provenance.FindSource(v.tree, outputOf)
	commit := v.statement.CommitOf()
	if source != nil && !v.here && !v.noRun && commit != "" {
		return v.checkOut(source.Top, commit)
	}
	if commit != "" && !v.noRun && (source == nil || source.Commit != commit || source.Dirty) {
		warn("the statement is about commit " + commit + ": it is not known whether the sources here are the same")
	}
	return nil
}

func (v *verification) checkOut(top, commit string) (err error) {
	if v.made, err = os.MkdirTemp("", "mayfly-verify-"); err != nil {
		return err
	}
	v.tree = filepath.Join(v.made, filepath.Base(v.statement.Predicate.Definition.Parameters.Project))
	for _, args := range [][]string{{"clone", "--quiet", "--no-checkout", "--", top, v.tree}, {"-C", v.tree, "checkout", "--quiet", "--detach", commit, "--"}} {
		if _, err := outputOf(exec.Command("git", args...)); err != nil {
			v.clear()
			return fmt.Errorf("check out commit %s: %w; --here runs in the current directory", commit, err)
		}
	}
	message("runtime: commit %s in %s", commit, v.tree)
	return nil
}

func (v *verification) clear() {
	if v.made != "" {
		if err := os.RemoveAll(v.made); err != nil {
			warn(err.Error())
		}
	}
}

// outputDirectory is the host's directory from which the globs of outputs begin.
func (v *verification) outputDirectory() string {
	p := v.statement.Predicate.Definition.Parameters
	if v.made == "" { // the current directory is where the run was called
		return v.tree
	}
	below, is := strings.CutPrefix(filepath.Clean(p.Directory), filepath.Clean(p.Project))
	if !is {
		return v.tree
	}
	return filepath.Join(v.tree, below)
}

// run runs the command of the statement again, in a container of the same image, with the
// sources where they were.
func (v *verification) run(dir string) error {
	p := v.statement.Predicate.Definition.Parameters
	there, _, err := provenance.Outputs(dir, p.Outputs)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("%q is there already: verify in a directory with the sources alone", there[0])
	}
	flags := p.Flags
	inside, outside := p.Project, v.tree
	if v.made == "" {
		inside, outside = p.Directory, dir
	}
	if inside != outside {
		flags = append(slices.Clone(flags), "--bind="+plan.EscapeBind(outside)+":"+plan.EscapeBind(inside))
	}
	if !slices.ContainsFunc(flags, func(text string) bool { return strings.HasPrefix(text, "--chdir=") }) && inside != outside {
		flags = append(flags, "--chdir="+p.Directory)
	}
	flags = append(flags, v.environment()...)
	message("runtime: in %s again: %s", p.Image, strings.Join(p.Command, " "))
	run := itself("runtime", slices.Concat([]string{"run", "--quiet"}, flags, []string{p.Image, "--"}, p.Command)...)
	run.Dir, run.Stdin = dir, nil
	err = finish(run)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() != status.ExitFailure {
		return fmt.Errorf("the command has failed with exit status %d", ended.ExitCode())
	}
	return err
}

// environment returns flags for the variables whose values the statement has, and tells of
// those that the command had and has not now.
func (v *verification) environment() (flags []string) {
	p := v.statement.Predicate.Definition.Parameters
	here := access.CallerEnviron()
	var missing []string
	for _, flag := range p.Flags {
		name, is := strings.CutPrefix(flag, "--env=")
		if is && !strings.Contains(name, "=") && !slices.ContainsFunc(here, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		warn("the command had variables whose values are not told, and which are not set here: " + strings.Join(missing, ", "))
	}
	for _, name := range []string{"LANG", "TZ"} { // as of the caller then
		if value := p.Env[name]; value != nil {
			flags = append(flags, "--env="+name+"="+*value)
		}
	}
	return flags
}

func (v *verification) print(result verified, different []provenance.Comparison, dir string) {
	if result.Reproducible {
		fmt.Fprintf(stdout, "reproducible: %s as in the statement\n", count(len(result.Files), "file"))
		return
	}
	fmt.Fprintf(stdout, "not reproducible: %d of %s\n", len(different), count(len(result.Files), "file"))
	for _, c := range different {
		switch {
		case c.Now == "":
			fmt.Fprintf(stdout, "missing  %s\n", printableLine(c.Name))
		case c.Recorded == "":
			fmt.Fprintf(stdout, "new      %s\n", printableLine(c.Name))
		default:
			fmt.Fprintf(stdout, "differs  %s\n", printableLine(c.Name))
			v.compare(c, dir)
		}
	}
}

// compare has diffoscope(1) compare two files, if it is there, and the file of the
// statement is too: in the current directory.
func (v *verification) compare(c provenance.Comparison, dir string) {
	old, err := provenance.Digests(".", []string{c.Name}, time.Time{})
	if v.made == "" || err != nil || old[0].Digest["sha256"] != c.Recorded {
		return
	}
	if _, err := exec.LookPath("diffoscope"); err != nil {
		return
	}
	out, _ := outputOf(exec.Command("diffoscope", "--", c.Name, filepath.Join(dir, c.Name))) // 1: they differ
	_, _ = stdout.Write(out)
}
