package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// workingDir decides where the command starts. A directory that is asked for must exist
// inside. The caller's own must be the same directory inside. A login shell starts in
// the home instead where it is not; any other command is refused, since it could do
// there what was meant for another place.
func (p *Plan) workingDir(r Request, f Facts) error {
	switch {
	case r.Dir != "":
		if !path.IsAbs(r.Dir) || strings.IndexByte(r.Dir, 0) >= 0 {
			return fmt.Errorf("--chdir %q is not an absolute path", r.Dir)
		}
		p.Spec.Process.Cwd, p.DirRequired = r.Dir, true
		return nil
	// The container has its own there, or the request mounts one.
	case f.Dir.Path == "/" || r.mountsOn(f.Dir.Path):
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

// DirsToTry are the directories in which the command may start. The first that can be
// entered is taken.
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

// DirsToEnter are those of DirsToTry in reverse, for a command that enters each that it
// can: the last one stays.
func (p *Plan) DirsToEnter() []string {
	dirs := p.DirsToTry()
	slices.Reverse(dirs)
	return dirs
}
