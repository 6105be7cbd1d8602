package survey

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// namesInside returns the names that a directory of the host has inside, by way of the
// binds of the directory and of those above it. The directory's own name comes first,
// if it is one.
func namesInside(sources []plan.BoundSource, dir string) []string {
	var names []string
	for above := dir; ; above = path.Dir(above) {
		id, err := identify(above)
		for _, s := range sources {
			if err == nil && s.FileID == id {
				names = append(names, path.Join(s.Destination, strings.TrimPrefix(dir, above)))
			}
		}
		if above == "/" {
			break
		}
	}
	if own := slices.Index(names, dir); own > 0 {
		names = slices.Insert(slices.Delete(names, own, own+1), 0, dir)
	}
	return names
}

// findDirs finds the caller's home and working directory.
func (f *finder) findDirs(r plan.Request, env []string) {
	sources := f.bindsOf(r)
	f.findHome(r, env, sources)
	f.Dir = plan.HostDir{Path: f.Caller.Dir, Err: f.Caller.DirErr}
	if r.Dir != "" || f.Dir.Path == "" {
		return
	}
	if r.InProject {
		f.Dir = lookAt(r.Project)
	} else {
		f.Dir.ID, f.Dir.Err = identify(".")
	}
	if f.Dir.Err == nil {
		f.Dir.Inside = namesInside(sources, f.Dir.Path)
		f.Dir.Err = f.bindableDir(f.Dir.Path)
	}
	if r.Project != "" {
		f.Project = lookAt(r.Project)
		f.Project.Inside = namesInside(sources, f.Project.Path)
		f.Project.Err = cmp.Or(f.Project.Err, f.bindableDir(f.Project.Path))
	}
}

// Directories of the host's system, which are bound by --bind only. systemTrees are
// meant with all that is in them, except sourceTrees: sources, and what the
// administrator has installed. systemDirs are meant without what is in them.
var (
	systemTrees = []string{"/etc", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/run/mayfly"}
	sourceTrees = []string{"/usr/src", "/usr/local"}
	systemDirs  = []string{"/var", "/var/lib", "/run", "/root"}
)

// bindableDir returns an error if a directory cannot be bound at its own name unless
// the request names it.
func (f *finder) bindableDir(dir string) error {
	if _, err := plan.CleanDestination(dir); err != nil {
		return err
	}
	in := func(trees []string) bool {
		return slices.ContainsFunc(trees, func(tree string) bool { return plan.Within(dir, tree) })
	}
	// A rootless caller's own store is hidden by rootfs.
	ofStore := !f.Rootless && (plan.Within(dir, f.Policy.Store) || plan.Within(f.Policy.Store, dir))
	if in(systemTrees) && !in(sourceTrees) || slices.Contains(systemDirs, dir) || ofStore {
		return errors.New("it is one of the system's, which is bound only if you say --bind")
	}
	if err := unix.Access(dir, unix.R_OK|unix.X_OK); err != nil {
		return fmt.Errorf("open it: %w", err)
	}
	return nil
}

// findHome finds the directory that HOME will name.
func (f *finder) findHome(r plan.Request, env []string, sources []plan.BoundSource) {
	if r.NoEphemeral || r.RootInside {
		return // HOME is the image's
	}
	f.HomeName = path.Clean(plan.Value(env, "HOME"))
	if !path.IsAbs(f.HomeName) || f.HomeName == "/" {
		f.HomeName = ""
		return
	}
	f.Home = lookAt(f.HomeName)
	f.HomeIsOurs = plan.IsOwnMount(f.HomeName)
	if f.Home.Path == "" {
		return
	}
	f.Home.Err = f.bindableDir(f.Home.Path)
	f.Home.Inside = namesInside(sources, f.Home.Path)
	if f.HomeName != f.Home.Path {
		above := lookAt(path.Dir(f.HomeName))
		f.HomeLink = above.Path != "" && slices.Contains(namesInside(sources, above.Path), path.Dir(f.HomeName))
	}
}

// lookAt finds the directory that a name leads to, with the caller's rights.
func lookAt(name string) plan.HostDir {
	fd, err := file.OpenNamed(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return plan.HostDir{Err: err}
	}
	defer unix.Close(fd)
	var d plan.HostDir
	var st unix.Stat_t
	if d.Err = unix.Fstat(fd, &st); d.Err != nil {
		return d
	}
	d.ID = plan.FileID{Device: st.Dev, Inode: st.Ino}
	d.Path, d.Err = file.PathOf(fd)
	return d
}

// findHides finds whether a bind of the working directory or the home would hide files
// of the image. --bind does it all the same.
func (f *finder) findHides(inside mount.Root, r plan.Request) {
	hides := func(d plan.HostDir) bool {
		return d.Path != "" && len(d.Inside) == 0 && !f.Covered(d.Path) && !plan.OnOwnMount(d.Path, r) &&
			len(namesIn(inside, d.Path, 1)) > 0
	}
	f.HomeHides = hides(f.Home)
	f.DirHides, f.ProjectHides = hides(f.Dir), hides(f.Project)
}
