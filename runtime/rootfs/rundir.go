package rootfs

import (
	"errors"
	"path"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// runDirs are in every /run: what an image's tmpfiles.d(5) would make at boot and
// programs of users do not start without. (To look into an image for which of them it
// has a program would cost more than to make them: a few microseconds each.)
var runDirs = []struct {
	name string
	mode uint32
}{{"lock", 0o1777}, {"screen", 0o1777}, {"sshd", 0o755}}

// populateRun fills /run.
func (b *Builder) populateRun(run mount.Tree) error {
	for _, d := range runDirs {
		if err := run.Mkdir(d.name, d.mode); err != nil {
			return err
		}
	}
	who := b.Plan.Spec.Process.User
	own := path.Join(plan.UserDirs, path.Base(plan.RuntimeDir(who.UID)))
	if b.Plan.RootInside() || (nsexec.Root{UID: who.UID, GID: who.GID}) == b.Here.Root() {
		return errors.Join(run.Mkdir(plan.UserDirs, 0o755), run.Mkdir(own, 0o700))
	}
	// The user makes their directory themself: to give it away would take one more
	// capability.
	if err := run.Mkdir(plan.UserDirs, 0o777); err != nil {
		return err
	}
	if err := privilege.AsUser(who.UID, who.GID, privilege.None, func() error { return run.Mkdir(own, 0o700) }); err != nil {
		return err
	}
	return run.Chmod(plan.UserDirs, 0o755)
}
