package runtime

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"mayfly/nsexec"
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

// changeDir enters the working directory with the user's own rights.
func (l *launch) changeDir() error { return l.enterDir(l.plan) }

// enterDir makes the working directory of the plan's command the thread's, where it is
// for the thread to enter it.
func (l *launch) enterDir(p *Plan) error {
	l.entered = false
	if p.CwdID != nil {
		err := enterSame(append([]string{p.Spec.Process.Cwd}, p.CwdNames...), *p.CwdID)
		if err == nil || p.DirRequired {
			l.entered = err == nil
			return p.goneSince(err)
		}
	}
	if p.rootInside() {
		return nil // that is for the command to do
	}
	for _, dir := range p.dirsToTry() {
		err := syscall.Chdir(dir)
		if err == nil {
			l.tellOfElsewhere(p, dir)
			return nil
		}
		if p.DirRequired {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return errors.New("not even / can be entered")
}

// goneSince says of the directory in which the container began that it is not there for
// a command that joins it. That one is not run elsewhere: it may have been meant for
// that directory.
func (p *Plan) goneSince(err error) error {
	if !p.joined || !errors.Is(err, errAnother) && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	const text = "%s: the directory in which the container began has been removed or replaced since: --chdir DIR runs the command in another, and --chdir %[1]s in what has that name now"
	return fmt.Errorf(text, visible(p.Spec.Process.Cwd))
}

var errAnother = errors.New("is another directory in the container")

// enterSame enters a directory by the first of its names that leads to it. Something
// else may be mounted there, or have come into its place.
func enterSame(names []string, id fileID) error {
	var problem error
	for _, name := range names {
		err := syscall.Chdir(name)
		if err == nil {
			var here fileID
			if here, err = identify("."); err == nil && here == id {
				return nil
			}
			err = errors.Join(err, errAnother)
		}
		if problem == nil {
			problem = fmt.Errorf("%s: %w: --chdir DIR runs the command elsewhere, as in --chdir /tmp", name, err)
		}
	}
	return problem
}

// dirsToTry are the directories in which the command may start, the first that can be
// entered counts.
func (p *Plan) dirsToTry() []string {
	if p.DirRequired {
		return []string{p.Spec.Process.Cwd}
	}
	dirs := []string{homeOf(p.Spec.Process.Env), "/"}
	if p.CwdID == nil && p.Spec.Process.Cwd != dirs[0] {
		return append([]string{p.Spec.Process.Cwd}, dirs...)
	}
	return dirs
}

// dirsToEnter are the same for a command that enters each that it can: the last counts.
func (p *Plan) dirsToEnter() []string {
	dirs := p.dirsToTry()
	slices.Reverse(dirs)
	return dirs
}

// tellWhere looks where a command has started that was given dirsToEnter.
func (l *launch) tellWhere(p *Plan, process *nsexec.Process) {
	if dirs := p.dirsToEnter(); process.Dir >= 0 && process.Dir < len(dirs) {
		l.tellOfElsewhere(p, dirs[process.Dir])
	}
}

func (l *launch) tellOfElsewhere(p *Plan, dir string) {
	if dir != p.Spec.Process.Cwd {
		l.warn(fmt.Sprintf("working directory %q cannot be entered in the container, starting in %s", p.Spec.Process.Cwd, dir))
	}
}
