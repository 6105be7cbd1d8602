package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"syscall"

	"mayfly/nsexec"
)

// otherName returns $PWD if that leads to the working directory dir by another name.
func otherName(dir string) string {
	name := os.Getenv("PWD")
	if !path.IsAbs(name) || name != path.Clean(name) || name == dir {
		return ""
	}
	here, err := os.Stat(".")
	there, errThere := os.Stat(name)
	if err != nil || errThere != nil || !os.SameFile(here, there) {
		return ""
	}
	return name
}

// changeDir enters the working directory with the user's own rights.
func (l *launch) changeDir() error { return l.enterDir(l.plan) }

func (l *launch) enterDir(p *Plan) error {
	if p.rootInside() {
		return nil // that is for the command to do
	}
	for _, dir := range p.workingDirs() {
		err := syscall.Chdir(dir)
		if err == nil {
			return nil
		}
		if p.DirRequired {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, dir := range p.otherDirs() {
		if syscall.Chdir(dir) == nil {
			l.tellOfElsewhere(p, dir)
			return nil
		}
	}
	return errors.New("not even / can be entered")
}

// workingDirs are the names of the working directory, the first that can be entered counts.
func (p *Plan) workingDirs() []string { return []string{p.Spec.Process.Cwd, p.CwdName} }

// otherDirs are where a command starts that cannot enter it.
func (p *Plan) otherDirs() []string { return []string{homeOf(p.Spec.Process.Env), "/"} }

// dirsToEnter are both, for a command that enters each that it can: the last counts.
func (p *Plan) dirsToEnter() []string {
	dirs := slices.Concat(p.workingDirs(), p.otherDirs())
	slices.Reverse(dirs)
	return dirs
}

// tellWhere looks where a command has started that was given dirsToEnter.
func (l *launch) tellWhere(p *Plan, process *nsexec.Process) {
	if i := process.Dir; i >= 0 && i < len(p.otherDirs()) {
		l.tellOfElsewhere(p, p.dirsToEnter()[i])
	}
}

func (l *launch) tellOfElsewhere(p *Plan, dir string) {
	l.note(fmt.Sprintf("working directory %q is not in the container, starting in %s (a bind mount brings it: --bind .)", p.Spec.Process.Cwd, dir))
}
