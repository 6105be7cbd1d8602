package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/printable"
	"mayfly/runtime/project"
	"mayfly/runtime/status"
)

// mostAllowed bounds the file of --allow-inputs.
const mostAllowed = 4 << 20

// watches tells whether it is recorded what the command opens.
func (o *options) watches() bool { return o.inputs != "" || o.allowInputs != "" }

// openInputs opens the files of --inputs and --allow-inputs, with the caller's rights.
func (r *reports) openInputs(o *options) (err error) {
	if !o.watches() {
		return nil
	}
	if err := o.lookAround(); err != nil {
		return err
	}
	if r.inputs, err = openLate(o.inputs); err != nil {
		return fmt.Errorf("--inputs: %w", err)
	}
	if o.allowInputs != "" {
		text, err := readSmall(o.allowInputs, mostAllowed)
		if err != nil {
			return fmt.Errorf("--allow-inputs: %w", err)
		}
		if r.allowed, err = inputs.ParseAllowed(o.allowInputs, text, os.Getenv("HOME")); err != nil {
			return fmt.Errorf("--allow-inputs: %w", err)
		}
	}
	return nil
}

// writeInputs writes what was opened, and sums it up for the user. An error is what the
// build must not have opened.
func (r *reports) writeInputs(how status.Status) error {
	if r.opened == nil {
		return nil
	}
	o, p := r.options, r.plan
	project, _ := o.placesInside(p)
	about := inputs.About{Image: p.ImageReference(), Project: project, Home: plan.Value(p.Spec.Process.Env, "HOME"), Command: p.Spec.Process.Args, Asked: p.CallerBinds}
	if digest := r.digest.Load(); digest != nil {
		about.Digest = *digest
	}
	report := inputs.NewReport(*r.opened, about)
	var errs []error
	if r.inputs != nil {
		data, err := printable.JSON(report, "  ")
		if err == nil {
			err = r.inputs.write(data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--inputs: %w", err))
		}
	}
	if text := report.Summary(); text != "" {
		o.warn(text)
	}
	if !report.Complete {
		warn("the record of what was opened is NOT complete: " + strings.Join(report.Missed, ", "))
	}
	if r.allowed != nil {
		if err := r.allowed.Check(report); err != nil {
			errs = append(errs, fmt.Errorf("--allow-inputs %s: %w", o.allowInputs, err))
		}
	}
	return errors.Join(errs...)
}

// surroundings are where a run was called, on the host. They are found before the
// build, which could change them.
type surroundings struct {
	called string // directory in which the command begins, unless --chdir names another
	top    string // of the project: of its file, the nearest with a .git, or called
}

// lookAround finds the surroundings, with the caller's rights.
func (o *options) lookAround() (err error) {
	if o.around.called = o.project; !o.inProject {
		if o.around.called, err = unix.Getwd(); err != nil { // os.Getwd believes the environment
			return fmt.Errorf("the working directory: %w", err)
		}
	}
	o.around.top = cmp.Or(o.project, project.GitTop(), o.around.called)
	return nil
}

// placesInside are the directory of the project in the container, and that in which the
// run was called. With --chdir both are supposed to have their own names inside.
func (o *options) placesInside(p *plan.Plan) (project, directory string) {
	if directory = p.Spec.Process.Cwd; o.dir != "" {
		directory = o.around.called
	}
	above, fits := strings.CutSuffix(directory, strings.TrimPrefix(o.around.called, o.around.top))
	if !fits {
		return directory, directory
	}
	return filepath.Clean("/" + above), directory
}
