package launch

import (
	"errors"
	"fmt"
	"syscall"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/programs"
)

// changeDir enters the working directory of the plan's command, with the user's own
// rights.
func (l *Launch) changeDir() error { return l.enterDir(l.Plan) }

// enterDir enters the working directory of the plan's command. Root inside has other
// rights, so its command enters the directory itself (see enterUserNamespace), unless the
// directory is known by its inode.
func (l *Launch) enterDir(p *plan.Plan) error {
	l.entered = false
	if p.CwdID != nil {
		err := enterSame(append([]string{p.Spec.Process.Cwd}, p.CwdNames...), *p.CwdID)
		if err == nil || p.DirRequired {
			l.entered = err == nil
			return goneSince(p, err)
		}
	}
	if p.RootInside() {
		return nil // the command enters it itself
	}
	for _, dir := range p.DirsToTry() {
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

// goneSince explains why a command that joins does not find the container's working
// directory: it was removed or replaced. The command is refused, and not run elsewhere:
// it may have been meant for that directory.
func goneSince(p *plan.Plan, err error) error {
	if !p.Joins || !errors.Is(err, errAnother) && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	const text = "%s: the directory in which the container began has been removed or replaced since: --chdir DIR runs the command in another, and --chdir %[1]s in what has that name now"
	return fmt.Errorf(text, programs.Visible(p.Spec.Process.Cwd))
}

var errAnother = errors.New("is another directory in the container")

// enterSame enters the first of the names that leads to the inode. A name may lead
// elsewhere: something else may be mounted there, or the directory was replaced.
func enterSame(names []string, id plan.FileID) error {
	var problem error
	for _, name := range names {
		err := syscall.Chdir(name)
		if err == nil {
			var device, inode uint64
			if device, inode, err = file.Identify("."); err == nil && (plan.FileID{Device: device, Inode: inode}) == id {
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

// tellWhere warns if the command was given directories to enter (Plan.DirsToEnter) and
// started in another than its working directory.
func (l *Launch) tellWhere(p *plan.Plan, process *nsexec.Process) {
	if dirs := p.DirsToEnter(); process.Dir >= 0 && process.Dir < len(dirs) {
		l.tellOfElsewhere(p, dirs[process.Dir])
	}
}

func (l *Launch) tellOfElsewhere(p *plan.Plan, dir string) {
	if dir != p.Spec.Process.Cwd {
		l.Warn(fmt.Sprintf("working directory %q cannot be entered in the container, starting in %s", p.Spec.Process.Cwd, dir))
	}
}
