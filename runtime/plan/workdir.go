package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// workingDir decides where the command starts. One that is asked for must be there. The
// caller's own must be the same one inside; a command that is the login shell starts in
// the home instead, any other is refused: it could do there what was meant for another
// place.
func (p *Plan) workingDir(r Request, f Facts) error {
	switch {
	case r.Dir != "":
		if !path.IsAbs(r.Dir) || strings.IndexByte(r.Dir, 0) >= 0 {
			return fmt.Errorf("--chdir %q is not an absolute path", r.Dir)
		}
		p.Spec.Process.Cwd, p.DirRequired = r.Dir, true
		return nil
	case f.Dir.Path == "/" || r.mountsOn(f.Dir.Path): // the container's, and what the caller puts there
		p.Spec.Process.Cwd, p.DirRequired = f.Dir.Path, true
		return nil
	}
	p.DirRequired = len(r.Command) > 0
	names := f.dirInside(r)
	if f.bindsDir(r) {
		names = []string{f.Dir.Path}
	}
	switch {
	case len(names) > 0:
		p.Spec.Process.Cwd, p.CwdNames, p.CwdID = names[0], names[1:], &f.Dir.ID
	case p.DirRequired:
		return f.whyNotInside(r)
	default:
		p.Spec.Process.Cwd = homeOf(p.Spec.Process.Env)
		p.warn(fmt.Sprintf("%v; starting in %s", f.whyNotInside(r), p.Spec.Process.Cwd))
	}
	return nil
}

// DirsToTry are the directories in which the command may start, the first that can be
// entered counts.
func (p *Plan) DirsToTry() []string {
	if p.DirRequired {
		return []string{p.Spec.Process.Cwd}
	}
	dirs := []string{homeOf(p.Spec.Process.Env), "/"}
	if p.CwdID == nil && p.Spec.Process.Cwd != dirs[0] {
		return append([]string{p.Spec.Process.Cwd}, dirs...)
	}
	return dirs
}

// DirsToEnter are the same for a command that enters each that it can: the last counts.
func (p *Plan) DirsToEnter() []string {
	dirs := p.DirsToTry()
	slices.Reverse(dirs)
	return dirs
}
