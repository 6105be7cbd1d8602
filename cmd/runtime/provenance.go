package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
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
	file   *os.File
	dir    string    // outputs are in it
	since  time.Time // they are newer
	source *provenance.Source
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
	case o.sign != "" && (o.provenance == "-" || strings.HasPrefix(o.provenance, "/dev/")):
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
func (o *options) beginProof(file *os.File) (p *proof, err error) {
	p = &proof{file: file}
	if p.dir, err = o.calledIn(); err == nil {
		p.since, err = provenance.Now()
	}
	if err != nil {
		return nil, fmt.Errorf("--provenance: %w", err)
	}
	p.source = provenance.FindSource(p.dir, outputOf)
	return p, nil
}

// outputOf runs a program of the caller's with their rights, and returns its output. The
// error has what it says.
func outputOf(cmd *exec.Cmd) ([]byte, error) {
	var out, said bytes.Buffer
	cmd.Env = append(access.CallerEnviron(), cmd.Env...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := startAsCalled(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), err
}

// writeProof writes the statement of a run that has ended, and signs it.
func (r *reports) writeProof(h here.Here, how status.Status) error {
	p := r.proof
	if p == nil || r.plan == nil || r.digest.Load() == nil {
		return nil
	}
	files, unmatched, err := provenance.Outputs(p.dir, r.options.outputs)
	switch {
	case err != nil:
	case len(unmatched) > 0 && how.ExitCode() == 0:
		err = fmt.Errorf("--output %s: the build has made no such file", unmatched[0])
	case len(files) == 0:
		err = errors.New("the build has made nothing that --output names")
	}
	var subject []provenance.Resource
	if err == nil {
		subject, err = provenance.Digests(p.dir, files, p.since)
	}
	var data []byte
	if err == nil {
		data, err = r.statement(h, how, subject).Encode()
	}
	if err == nil {
		_, err = p.file.Write(data)
	}
	if p.file != os.Stderr {
		err = errors.Join(err, p.file.Close())
	}
	if err != nil {
		return fmt.Errorf("--provenance: %w", err)
	}
	return r.options.signStatement()
}

func (r *reports) statement(h here.Here, how status.Status, subject []provenance.Resource) *provenance.Statement {
	o, p := r.options, r.plan
	d := provenance.Definition{Parameters: o.parameters(p, *r.digest.Load()), Internal: internal(p), Dependencies: []provenance.Resource{imageOf(h, o.store, p, *r.digest.Load())}}
	if r.proof.source != nil {
		d.Dependencies = append(d.Dependencies, r.proof.source.Resource())
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

// parameters are what was asked for, with which the run can be made again.
func (o *options) parameters(p *plan.Plan, digest string) provenance.Parameters {
	project, directory := o.placesInside(p)
	list := provenance.Parameters{Image: p.Root.Image + "@" + digest, Command: p.Spec.Process.Args, Project: project, Directory: directory,
		Flags: o.recorded(), Env: map[string]*string{}, Outputs: o.outputs}
	for _, entry := range p.Spec.Process.Env {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "MAYFLY_"):
		case o.tells(name):
			list.Env[name] = &value
		default:
			list.Env[name] = nil
		}
	}
	return list
}

// tells tells whether a variable's value may be in a statement: those that the project's
// file sets are public, others have to be named.
func (o *options) tells(name string) bool {
	return slices.Contains(o.publicEnv, name) || slices.Contains(o.provenanceEnv, name)
}

// recorded are the flags that a statement has.
func (o *options) recorded() []string {
	list := []string{}
	add := func(name string, values ...string) {
		for _, value := range values {
			list = append(list, provenance.Flag(name, value))
		}
	}
	var r plan.Request
	_ = o.mounts(&r) // it has been read once
	for _, b := range r.Binds {
		name := "bind"
		if b.ReadOnly {
			name = "bind-ro"
		}
		add(name, plan.EscapeBind(b.Source)+":"+plan.EscapeBind(b.Destination))
	}
	add("tmpfs", o.tmpfs...)
	add("no-bind", o.noBinds...)
	for _, entry := range o.env {
		name, _, _ := strings.Cut(entry, "=")
		if !o.tells(name) {
			entry = name
		}
		add("env", entry)
	}
	for _, line := range o.addHosts {
		address, name, _ := strings.Cut(line, "\t")
		if _, err := netip.ParseAddr(address); err == nil {
			add("add-host", name+":"+address)
		}
	}
	for name, value := range map[string]string{"chdir": o.dir, "network": o.network, "root-as": o.rootAs, "personality": o.personality, "hostname": o.hostname,
		"memory": o.memory, "swap": o.swap, "tasks": unlessZero(o.tasks), "cpus": unlessZero(o.cpus), "timeout": unlessZero(o.timeout)} {
		if value != "" {
			add(name, value)
		}
	}
	for name, set := range map[string]bool{"no-host-binds": o.noHostBinds, "env-all": o.envAll, "root": o.rootInside, "writable": o.writable, "no-sync": o.noSync} {
		if set {
			add(name, "")
		}
	}
	slices.Sort(list)
	return list
}

func unlessZero[T comparable](value T) string {
	var zero T
	if value == zero {
		return ""
	}
	return fmt.Sprint(value)
}

// signStatement signs the statement with the caller's key (--sign).
func (o *options) signStatement() error {
	if o.sign == "" {
		return nil
	}
	cmd, signature, err := provenance.Sign(o.sign, o.provenance)
	if err == nil {
		err = os.Remove(signature) // the programs do not write over one
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		cmd.Stdin = os.Stdin // for a passphrase
		err = finish(cmd)
	}
	if err != nil {
		return fmt.Errorf("--sign %s: %w", o.sign, err)
	}
	return nil
}
