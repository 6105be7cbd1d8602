package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/plan"
	"mayfly/runtime/provenance"
)

// prepare finds the sources: a new checkout of the commit that the statement names,
// where this is the repository; with --here the current directory.
func (v *verification) prepare() error {
	p := v.statement.Predicate.Definition.Parameters
	if v.here || v.noRun {
		dir, err := unix.Getwd()
		v.project, v.inside, v.outputs = dir, p.Directory, dir
		if below := strings.TrimPrefix(p.Directory, p.Project); plan.Within(p.Directory, p.Project) && strings.HasSuffix(dir, below) {
			v.project, v.inside = strings.TrimSuffix(dir, below), p.Project
		}
		return err
	}
	const here = ": where there are the sources and no outputs, --here runs it"
	commit := v.statement.Commit()
	switch {
	case commit == nil:
		return errors.New("the statement names no commit of git" + here)
	case commit.Dirty:
		return fmt.Errorf("the sources were not those of commit %s alone, something had been changed%s", commit.ID, here)
	case commit.Directory == "" || !plan.Within(p.Directory, p.Project):
		return fmt.Errorf("the project was not in the repository of commit %s%s", commit.ID, here)
	}
	top := provenance.Top(".", outputOf)
	if top == "" {
		return fmt.Errorf("the statement is about commit %s, and here is no repository%s", commit.ID, here)
	}
	return v.checkOut(top, commit)
}

// checkOut makes the checkout.
func (v *verification) checkOut(top string, commit *provenance.Commit) (err error) {
	if v.made, err = os.MkdirTemp("", "mayfly-verify-"); err != nil {
		return err
	}
	tree := filepath.Join(v.made, "source")
	var head []byte
	for _, args := range [][]string{{"clone", "--quiet", "--no-checkout", "--", top, tree}, {"-C", tree, "checkout", "--quiet", "--detach", commit.ID, "--"}, {"-C", tree, "rev-parse", "HEAD"}} {
		if head, err = outputOf(provenance.Git(args...)); err != nil {
			break
		}
	}
	if err == nil && strings.TrimSpace(string(head)) != commit.ID {
		err = fmt.Errorf("it is %s", head)
	}
	if _, there := os.Lstat(filepath.Join(tree, ".gitmodules")); err == nil && there == nil {
		err = errors.New("it has submodules, which a checkout has not: with --here it runs where they are")
	}
	if err == nil {
		v.project, err = filepath.EvalSymlinks(filepath.Join(tree, commit.Directory))
	}
	if real, failed := filepath.EvalSymlinks(tree); err == nil && (failed != nil || v.project != filepath.Join(real, commit.Directory)) {
		err = fmt.Errorf("the directory %s of the project is a link there", commit.Directory)
	}
	if err != nil {
		v.clear()
		return fmt.Errorf("check out commit %s: %w", commit.ID, err)
	}
	p := v.statement.Predicate.Definition.Parameters
	v.inside = p.Project
	v.outputs = filepath.Join(v.project, strings.TrimPrefix(p.Directory, p.Project))
	message("runtime: commit %s in %s", commit.ID, tree)
	return nil
}

// clear removes the checkout, also directories that the build has made read-only.
func (v *verification) clear() {
	if v.made == "" {
		return
	}
	_ = filepath.WalkDir(v.made, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(v.made); err != nil {
		warn(err.Error())
	}
}
