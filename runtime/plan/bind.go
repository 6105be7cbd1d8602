package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/policy/rule"
)

// ParseBind reads SRC[:DST]. A backslash makes the next character stand for itself. A
// relative source is one in dir, the working directory.
func ParseBind(text, dir string, readOnly bool) (Bind, error) {
	fields, err := splitEscaped(text)
	if err != nil {
		return Bind{}, fmt.Errorf("bind %q: %w", text, err)
	}
	if len(fields) > 2 {
		return Bind{}, fmt.Errorf("bind %q: want SRC[:DST], write \\: for a colon in a path", text)
	}
	bind := Bind{Source: fields[0], ReadOnly: readOnly}
	if bind.Source == "" {
		return Bind{}, fmt.Errorf("bind %q: the source is empty", text)
	}
	if !path.IsAbs(bind.Source) {
		bind.Source = path.Join(dir, bind.Source)
	}
	bind.Source = path.Clean(bind.Source)
	bind.Destination = bind.Source
	if len(fields) == 2 {
		bind.Destination = fields[1]
	}
	bind.Destination, err = CleanDestination(bind.Destination)
	if err != nil {
		return Bind{}, fmt.Errorf("bind %q: %w", text, err)
	}
	return bind, nil
}

// EscapeBind writes a path as a part of SRC:DST.
func EscapeBind(path string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(path)
}

// splitEscaped splits at colons that have no backslash before them.
func splitEscaped(text string) ([]string, error) {
	var fields []string
	var field strings.Builder
	escaped := false
	for _, c := range []byte(text) {
		switch {
		case c == 0:
			return nil, errors.New("a NUL byte cannot be in a path")
		case escaped:
			field.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == ':':
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteByte(c)
		}
	}
	if escaped {
		return nil, errors.New("ends in a backslash")
	}
	return append(fields, field.String()), nil
}

// Ours are the file systems that Mayfly makes for each container. Nothing else is
// mounted over them or into them.
var OwnFilesystems = []string{"/proc", "/sys", "/dev"}

// CleanDestination returns a cleaned path that something may be mounted on: absolute,
// without "..", not / and not in one of Ours.
func CleanDestination(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("destination %q is not absolute", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("destination %q contains \"..\"", name)
		}
	}
	clean := path.Clean(name)
	if clean == "/" {
		return "", errors.New("destination is the root directory")
	}
	for _, one := range OwnFilesystems {
		if clean == one || strings.HasPrefix(clean, one+"/") {
			return "", fmt.Errorf("destination %s is in %s, which is the container's own", clean, one)
		}
	}
	return clean, nil
}

// mayBeAsked tells whether the rule lets a caller ask for any bind of this kind.
// Plan.Allows checks the source when it is open.
func (b Bind) mayBeAsked(d rule.Decision) bool {
	return len(d.AllowBind) > 0 || b.ReadOnly && len(d.AllowBindReadOnly) > 0
}

// Allows returns an error unless the policy lets the caller bind an open source. place
// is the kernel's name for it. The policy's directories are compared as they are
// written: a symbolic link on the way to one could be the caller's. The error wraps
// rule.ErrDenied.
func (p *Plan) Allows(place string, readOnly bool) error {
	allowed := p.BindFrom
	if readOnly {
		allowed = slices.Concat(p.BindFrom, p.BindReadOnlyFrom)
	}
	for _, dir := range allowed {
		if Within(place, dir) {
			return nil
		}
	}
	flag := "--bind"
	if readOnly {
		flag = "--bind-ro"
	}
	return fmt.Errorf("is %q: %w: %s allows %s only below %s", place, rule.ErrDenied, p.Rule, flag, strings.Join(allowed, ", "))
}

// requested adds the mounts that the request asks for.
func (p *Plan) requested(r Request, f Facts) error {
	var list []specs.Mount
	for _, t := range r.Tmpfs {
		if err := p.makeWay(list, t.Destination); err != nil {
			return err
		}
		list = append(list, specs.Mount{Destination: t.Destination, Type: "tmpfs", Source: "tmpfs",
			Options: slices.Concat([]string{"mode=1777"}, t.Options, []string{"nosuid", "nodev"})})
	}
	for _, b := range r.Binds {
		if err := p.makeWay(list, b.Destination); err != nil {
			return err
		}
		p.CallerBinds = append(p.CallerBinds, b.Destination)
		list = append(list, bindMount(b.Source, b.Destination, b.ReadOnly, f.Policy.BindSlave))
	}
	parentsFirst(list)
	p.Spec.Mounts = append(p.Spec.Mounts, list...)
	return nil
}

// makeWay removes what the plan has on a destination that the request mounts on. It is
// an error if an earlier mount of the request is there.
func (p *Plan) makeWay(earlier []specs.Mount, destination string) error {
	same := func(m specs.Mount) bool { return m.Destination == destination }
	if slices.ContainsFunc(earlier, same) {
		return fmt.Errorf("two mounts on %s", destination)
	}
	p.Spec.Mounts = slices.DeleteFunc(p.Spec.Mounts, same)
	there := func(f File) bool { return f.Path == destination }
	p.Files, p.Root.Replace = slices.DeleteFunc(p.Files, there), slices.DeleteFunc(p.Root.Replace, there)
	return nil
}
