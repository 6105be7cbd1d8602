package runtime

import (
	"errors"
	"path"
	"strconv"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/internal/realm"
)

// runDirs are in every /run: what an image's tmpfiles.d(5) would make at boot and
// programs of users do not start without. (To look into an image for which of them it
// has a program would cost more than to make them: a few microseconds each.)
var runDirs = []struct {
	name string
	mode uint32
}{{"lock", 0o1777}, {"screen", 0o1777}, {"sshd", 0o755}}

// userDirs is where each user has what XDG_RUNTIME_DIR names.
const userDirs = "user"

// RuntimeDir is what XDG_RUNTIME_DIR names inside.
func RuntimeDir(uid uint32) string {
	return path.Join("/run", userDirs, strconv.FormatUint(uint64(uid), 10))
}

// populateRun fills /run.
func (l *launch) populateRun(run mount.Tree) error {
	for _, d := range runDirs {
		if err := run.Mkdir(d.name, d.mode); err != nil {
			return err
		}
	}
	who := l.plan.Spec.Process.User
	own := path.Join(userDirs, path.Base(RuntimeDir(who.UID)))
	if l.plan.rootInside() || who.UID == realm.Root() && who.GID == realm.RootGroup() {
		return errors.Join(run.Mkdir(userDirs, 0o755), run.Mkdir(own, 0o700))
	}
	// The user makes their directory themself: to give it away would take one more
	// capability.
	err := run.Mkdir(userDirs, 0o777)
	if err == nil {
		err = nsexec.SetFSIDs(int(who.UID), int(who.GID))
	}
	if err == nil {
		err = run.Mkdir(own, 0o700)
	}
	back := nsexec.SetFSIDs(int(realm.Root()), int(realm.RootGroup()))
	if err = errors.Join(err, back, nsexec.SetEffective(scratchNeeds)); err != nil {
		return err
	}
	return run.Chmod(userDirs, 0o755)
}
