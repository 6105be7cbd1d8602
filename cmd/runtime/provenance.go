package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/provenance"
	"mayfly/runtime/status"
)

// A proof is what --provenance needs to know of a run: what it began with.
type proof struct {
	file   *lateReport
	since  time.Time          // they are newer
	source *provenance.Source // nil: there is none
}

// checkProvenance refuses what makes no statement, before anything runs.
func (o *options) checkProvenance() error {
	switch {
	case o.provenance == "":
		return nil
	case len(o.outputs) == 0:
		return errors.New("--provenance: no --output GLOB names what the build makes")
	case o.session != "" || o.noEphemeral:
		return errors.New("--provenance: want an image with versions: what is in a session or changes has no digest")
	case o.user != "":
		return errors.New("--provenance and --user exclude each other: nobody else could make the run again")
	}
	if _, is := descriptorOf(o.provenance); o.sign != "" && (is || o.provenance == "-") {
		return errors.New("--sign: the signature stands beside the statement: give --provenance a FILE")
	}
	for _, glob := range o.outputs {
		if err := provenance.CheckGlob(glob); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
	}
	if o.sign != "" {
		if _, err := os.Stat(o.sign); err != nil {
			return fmt.Errorf("--sign: %w", err)
		}
	}
	return nil
}

// beginProof looks at what the run begins with, with the caller's rights.
func (r *reports) beginProof(o *options) error {
	if o.provenance == "" {
		return nil
	}
	if err := o.lookAround(); err != nil {
		return fmt.Errorf("--provenance: %w", err)
	}
	if o.around.called == "/" {
		return errors.New("--provenance: the working directory is /: begin in that of the project")
	}
	file, err := openLate(o.provenance)
	if err != nil {
		return fmt.Errorf("--provenance: %w", err)
	}
	r.proof = &proof{file: file}
	if r.proof.since, err = provenance.Now(); err != nil {
		return fmt.Errorf("--provenance: %w", err)
	}
	r.proof.source = provenance.FindSource(o.around.called, o.written(), outputOf)
	return nil
}

// written are the files that this run writes beside what the build does.
func (o *options) written() (list []string) {
	for _, name := range append(signatures(o.provenance), o.provenance, o.inputs, o.status, o.stats, o.record) {
		if full, err := fullName(name); err == nil && name != "" {
			list = append(list, full)
		}
	}
	return list
}

// removeAll removes files, if they are there.
func removeAll(names []string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// fullName is the path of a file without links on the way.
func fullName(name string) (string, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(full))
	return filepath.Join(dir, filepath.Base(full)), err
}

// signatures are the names of the signatures of a statement.
func signatures(name string) (list []string) {
	for _, suffix := range provenance.Suffixes {
		list = append(list, name+suffix)
	}
	return list
}

// outputsIn lists the outputs in a directory, without what the program itself writes.
func outputsIn(dir string, globs, ours []string) (files, unmatched []string, err error) {
	files, unmatched, err = provenance.Outputs(dir, globs)
	return slices.DeleteFunc(files, func(name string) bool { return slices.Contains(ours, filepath.Join(dir, name)) }), unmatched, err
}

// outputOf runs a program of the caller's with their rights, and returns its output.
// The error has what it says, unless its standard error leads elsewhere.
func outputOf(cmd *exec.Cmd) ([]byte, error) {
	var out, said bytes.Buffer
	cmd.Env = append(access.CallerEnviron(), cmd.Env...)
	cmd.Stdout = &out
	if cmd.Stderr == nil {
		cmd.Stderr = &said
	}
	err := startAsCalled(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(strings.ReplaceAll(said.String(), "\r", "")))
	}
	return out.Bytes(), err
}

// writeProof writes the statement of a run that has ended, and signs it.
func (r *reports) writeProof(h here.Here, how status.Status) error {
	p := r.proof
	if p == nil || r.plan == nil || r.digest.Load() == nil {
		return nil
	}
	dir := r.options.around.called
	files, unmatched, err := outputsIn(dir, r.options.outputs, r.options.written())
	switch {
	case err != nil:
	case len(unmatched) > 0 && how.ExitCode() == 0:
		err = fmt.Errorf("--output %s: the build has made no such file", unmatched[0])
	case len(files) == 0:
		err = errors.New("the build has made nothing that --output names")
	}
	var subject []provenance.Resource
	if err == nil {
		subject, err = provenance.Digests(dir, files, p.since)
	}
	var data []byte
	if err == nil {
		data, err = r.statement(h, how, subject).Encode()
	}
	if err == nil {
		err = inPlace(p.file.File)
	}
	if err == nil && isNamed(p.file.File) {
		err = removeAll(signatures(r.options.provenance)) // of an earlier statement
	}
	if err == nil {
		err = p.file.write(data)
	}
	if err != nil {
		return fmt.Errorf("--provenance: %w", err)
	}
	return r.options.signStatement(data)
}

func (r *reports) statement(h here.Here, how status.Status, subject []provenance.Resource) *provenance.Statement {
	o, p := r.options, r.plan
	d := provenance.Definition{Parameters: o.parameters(p, *r.digest.Load()), Internal: internal(p), Dependencies: []provenance.Resource{imageOf(h, o.store, p, *r.digest.Load())}}
	if r.proof.source != nil {
		d.Dependencies = append(d.Dependencies, r.proof.source.Resource(o.around.top))
	}
	return provenance.New(subject, d, provenance.Run{
		Builder:    provenance.Builder{Version: map[string]string{"mayfly": version}},
		Metadata:   provenance.Metadata{InvocationID: p.Container, Started: r.began.UTC().Truncate(time.Millisecond), Finished: time.Now().UTC().Truncate(time.Millisecond)},
		Byproducts: []provenance.Resource{provenance.ExitStatus(how.ExitCode())},
	})
}

// imageOf is the image as a dependency, with its origin and its recipe.
func imageOf(h here.Here, store string, p *plan.Plan, digest string) provenance.Resource {
	r := provenance.Resource{Name: "image", URI: "mayfly:" + p.ImageReference(), Digest: map[string]string{"sha256": strings.TrimPrefix(digest, ref.DigestPrefix)}, Annotations: map[string]any{}}
	// A version that was removed just now has its digest left.
	_ = access.WithStore(h, store, func(s *image.Store) error {
		record, err := s.Record(ref.Reference{Name: p.Root.Image, Version: p.Root.Version})
		if err == nil {
			r.Annotations["origin"], r.Annotations["arch"] = record.Origin, record.Arch
			if record.Recipe != "" {
				r.Annotations["recipe"] = record.Recipe
			}
		}
		return err
	})
	return r
}

func internal(p *plan.Plan) provenance.Internal {
	i := provenance.Internal{Rule: p.Rule, Network: p.Network, Binds: []provenance.Bind{}}
	for _, m := range p.Spec.Mounts {
		if m.Type == "bind" && p.WhoseIs(m.Destination) == plan.OfHost {
			i.Binds = append(i.Binds, provenance.Bind{Source: m.Source, Destination: m.Destination, ReadOnly: slices.Contains(m.Options, "ro"), Asked: slices.Contains(p.CallerBinds, m.Destination)})
		}
	}
	return i
}

// signStatement signs the statement with the caller's key (--sign). What it signs is
// what this run has written, whatever the file is by now.
func (o *options) signStatement(data []byte) error {
	if o.sign == "" {
		return nil
	}
	signature, err := provenance.Sign(o.sign, data, outputOf)
	if err == nil {
		err = writeNew(o.provenance+signature.Suffix, signature.Data)
	}
	if err != nil {
		return fmt.Errorf("--sign %s: %w; %s is there without a signature", o.sign, err, o.provenance)
	}
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(name string, data []byte) error {
	f, err := openFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
