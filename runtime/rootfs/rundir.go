package rootfs

import (
	"errors"
	"path"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// runDirs are in every /run. An image's tmpfiles.d(5) would make them at boot, and some
// programs do not start without them. They are made in every container, for a few
// microseconds each; to look which of those programs an image has would cost more.
var runDirs = []struct {
	name string
	mode uint32
}{{"lock", 0o1777}, {"screen", 0o1777}, {"sshd", 0o755}}

// populateRun fills /run, and makes in it the user's XDG_RUNTIME_DIR.
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
	// The directory is made with the user's ids: to change its owner would take
	// CAP_CHOWN.
	if err := run.Mkdir(plan.UserDirs, 0o777); err != nil {
		return err
	}
	if err := privilege.AsUser(who.UID, who.GID, privilege.None, func() error { return run.Mkdir(own, 0o700) }); err != nil {
		return err
	}
	return run.Chmod(plan.UserDirs, 0o755)
}
