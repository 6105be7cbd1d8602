// Package provenance makes and reads statements of how files were built: in-toto
// statements (https://in-toto.io/Statement/v1) with SLSA provenance
// (https://slsa.dev/provenance/v1).
//
// It works with the caller's rights only. Package main calls it before a run, to see
// what the run begins with, and after it, to look at what was made.
package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"mayfly/runtime/image/ref"
)

// The types of what a Statement has. BuildType says what the parameters mean:
// docs/proving.md describes them.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "urn:mayfly:run:v1"
	BuilderID     = "urn:mayfly:runtime"
)

// A Statement says of files how they were made.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"` // what was made
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// A Resource is something with a digest: a file, an image, a commit.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// A Predicate is SLSA's provenance.
type Predicate struct {
	Definition Definition `json:"buildDefinition"`
	Run        Run        `json:"runDetails"`
}

// A Definition is what the build was made of.
type Definition struct {
	BuildType    string     `json:"buildType"`
	Parameters   Parameters `json:"externalParameters"`
	Internal     Internal   `json:"internalParameters"`
	Dependencies []Resource `json:"resolvedDependencies"`
}

// Parameters are what the caller has asked for: with them the run can be made again.
type Parameters struct {
	Image     string             `json:"image"` // NAME@sha256:DIGITS
	Command   []string           `json:"command"`
	Project   string             `json:"project"`     // directory of the sources inside
	Directory string             `json:"directory"`   // in which the command began, inside
	Flags     []string           `json:"flags"`       // of `runtime run`, see Flags
	Env       map[string]*string `json:"environment"` // all names that the command had; null: the value was not to be told
	Outputs   []string           `json:"outputs"`     // globs, from the directory on
}

// Internal are what the machine's administrator and the program have decided.
type Internal struct {
	Rule    string `json:"rule,omitempty"` // line of the policy
	Network string `json:"network"`
	Binds   []Bind `json:"binds"`
}

// A Bind is a directory or file of the host's that the container had.
type Bind struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	ReadOnly    bool   `json:"readOnly,omitempty"`
	Asked       bool   `json:"asked,omitempty"` // by the caller, not by the policy
}

// A Run is who ran the build, and when.
type Run struct {
	Builder    Builder    `json:"builder"`
	Metadata   Metadata   `json:"metadata"`
	Byproducts []Resource `json:"byproducts"`
}

// A Builder is the program.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Metadata are about one run.
type Metadata struct {
	InvocationID string    `json:"invocationId"`
	Started      time.Time `json:"startedOn"`
	Finished     time.Time `json:"finishedOn"`
}

// exitStatus is the name of the byproduct that has the exit status.
const exitStatus = "exit-status"

// ExitStatus is the byproduct that tells the command's exit status.
func ExitStatus(code int) Resource {
	return Resource{Name: exitStatus, Annotations: map[string]any{"exit": code}}
}

// New makes a statement; only what is not in the arguments is filled in.
func New(subject []Resource, d Definition, r Run) *Statement {
	d.BuildType = BuildType
	r.Builder.ID = BuilderID
	return &Statement{StatementType, subject, PredicateType, Predicate{d, r}}
}

// Encode returns the statement as it is written. Texts that are not UTF-8 are refused:
// JSON has no such.
func (s *Statement) Encode() ([]byte, error) {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	if bytes.Contains(data.Bytes(), []byte(`\ufffd`)) || bytes.ContainsRune(data.Bytes(), '\uFFFD') {
		return nil, errors.New("a name or an argument is not UTF-8, which a statement cannot tell")
	}
	return data.Bytes(), nil
}

// Parse reads a statement of this program's. It is not trusted: somebody may have
// written it to have a command run. What it does not know it refuses.
func Parse(data []byte) (*Statement, error) {
	var s Statement
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("not what `runtime run --provenance` writes: %w", err)
	}
	if d.More() {
		return nil, errors.New("something follows the statement")
	}
	return &s, s.check()
}

// isDirectory tells whether a path may be that of a project: absolute, clean, and not
// the root directory.
func isDirectory(name string) bool {
	return filepath.IsAbs(name) && filepath.Clean(name) == name && name != "/" && strings.IndexByte(name, 0) < 0
}

// Exit is the exit status of the command.
func (s *Statement) Exit() int {
	for _, r := range s.Predicate.Run.Byproducts {
		if code, is := r.Annotations["exit"].(float64); is && r.Name == exitStatus {
			return int(code)
		}
	}
	return 0
}

func (s *Statement) check() error {
	p := s.Predicate.Definition.Parameters
	switch {
	case s.Type != StatementType || s.PredicateType != PredicateType:
		return fmt.Errorf("it is a statement of type %q with a predicate of type %q, want %s and %s", s.Type, s.PredicateType, StatementType, PredicateType)
	case s.Predicate.Definition.BuildType != BuildType:
		return fmt.Errorf("the build is of type %q, want %s", s.Predicate.Definition.BuildType, BuildType)
	case len(s.Subject) == 0 || len(p.Command) == 0 || len(p.Outputs) == 0:
		return errors.New("it has no subject, no command or no outputs")
	case !isDirectory(p.Project) || !isDirectory(p.Directory):
		return fmt.Errorf("its directories are %q and %q: want absolute ones", p.Project, p.Directory)
	}
	if err := s.Commit().check(); err != nil {
		return err
	}
	named, err := ref.Parse(p.Image)
	if err != nil {
		return err
	}
	if len(named.Digest) != ref.DigestDigits {
		return fmt.Errorf("the image %s is not named by its whole digest", p.Image)
	}
	for _, r := range s.Subject {
		if r.Name == "" || len(r.Digest["sha256"]) != 64 {
			return fmt.Errorf("the subject %q has no name or no SHA-256", r.Name)
		}
	}
	for _, glob := range p.Outputs {
		if err := CheckGlob(glob); err != nil {
			return err
		}
	}
	return checkFlags(p.Flags)
}
