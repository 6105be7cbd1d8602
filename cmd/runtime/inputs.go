package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/printable"
	"mayfly/runtime/status"
)

// mostAllowed bounds the file of --allow-inputs.
const mostAllowed = 4 << 20

// watches tells whether it is recorded what the command opens.
func (o *options) watches() bool { return o.inputs != "" || o.allowInputs != "" }

// openInputs opens the files of --inputs and --allow-inputs, with the caller's rights.
func (r *reports) openInputs(o *options) (err error) {
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
	about := inputs.About{Image: p.ImageReference(), Project: o.projectInside(p), Home: plan.Value(p.Spec.Process.Env, "HOME"), Command: p.Spec.Process.Args, Asked: p.CallerBinds}
	if digest := r.digest.Load(); digest != nil {
		about.Digest = *digest
	}
	report := inputs.NewReport(*r.opened, about)
	var errs []error
	if r.inputs != nil {
		data, err := printable.JSON(report, "  ")
		if err == nil {
			_, err = r.inputs.Write(data)
		}
		if r.inputs != os.Stderr {
			err = errors.Join(err, r.inputs.Close())
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

// projectInside is the directory of the project in the container: that of its file, or the
// nearest above the working directory with a .git, or the working directory.
func (o *options) projectInside(p *plan.Plan) string {
	inside := p.Spec.Process.Cwd
	if o.inProject || o.dir != "" {
		return inside
	}
	here, err := os.Getwd()
	if err != nil {
		return inside
	}
	top := o.project
	if top == "" {
		top = gitTop(here)
	}
	below, is := strings.CutPrefix(here, top)
	above, fits := strings.CutSuffix(inside, below)
	if !is || !fits || top == "" {
		return inside
	}
	return filepath.Clean("/" + above)
}

// gitTop is the nearest directory from one upwards that has a .git; "": there is none.
func gitTop(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == "/" {
			return ""
		}
	}
}
