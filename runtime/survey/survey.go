// Package survey finds the facts that a plan depends on: who calls, what the policy
// decides for them, what the image is, what the host has. It changes nothing of the
// host, and nothing of the process.
//
// Package runtime calls it before there is a plan, on any thread. It looks up the
// caller's paths with the caller's own rights only. What those do not reach, such as
// the store, it looks up in the brackets of package privilege.
package survey

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/programs"
	"mayfly/runtime/user"
)

// A Root is the root file system that was looked at, still open: what a launch of the
// plan gets is what the plan was made for. Its fields are nil where none was found.
type Root struct {
	Store *image.Store
	Image *image.Image
}

// Close closes what is open.
func (r Root) Close() {
	if r.Image != nil {
		r.Image.Close()
	}
	if r.Store != nil {
		r.Store.Close()
	}
}

// Find finds the facts that a plan depends on. It changes nothing. The Facts are valid
// as far as they were found, even with an error. The caller closes the Root, also with
// an error. The error wraps rule.ErrDenied, caller.ErrNotPermitted or caller.ErrNoGrant
// where the request is refused.
func Find(h here.Here, r plan.Request) (plan.Facts, Root, error) {
	f := finder{here: h}
	err := f.find(r)
	return f.Facts, f.root, err
}

// A finder finds the facts of one request.
type finder struct {
	plan.Facts
	here here.Here
	root Root
}

func (f *finder) find(r plan.Request) (err error) {
	if f.Caller, err = access.CurrentCaller(); err != nil {
		return err
	}
	if f.Rootless, f.HasIDs = f.here.Rootless(), f.here.HasIDs(); f.Rootless {
		f.GrantIgnored = here.GrantIgnored()
	}
	if err := r.Check(f.Caller, f.Rootless); err != nil {
		return err
	}
	if _, err := ref.Parse(r.Image); err != nil {
		return err
	}
	if err := f.checkTmpfs(r.Tmpfs); err != nil {
		return err
	}
	if err := privilege.Check(); err != nil {
		return err
	}
	database, err := user.Load(f.here)
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	if err := f.findUser(r, database); err != nil {
		return err
	}
	if f.Policy, err = access.Decide(f.here, r.ImageName(), f.Caller, database); err != nil {
		return err
	}
	if err := f.LeaveOut(r); err != nil {
		return err
	}
	if err := f.findDelegated(); err != nil {
		return err
	}
	if err := f.findJoined(r, database); err != nil {
		return err
	}
	if r.RootInside {
		if err := f.findRootInside(r, database); err != nil {
			return err
		}
	}
	if f.Host, err = programs.HostArchitecture(); err != nil {
		return err
	}
	// The image's own environment is not known yet. It has no say in the home, the
	// shell, the terminal and the locales.
	env, err := plan.Environment(r, nil, f.Caller, f.Policy.Passes, f.RunsAs())
	if err != nil {
		return err
	}
	f.findHostFiles(r)
	f.findDirs(r, env)
	if err := f.findImage(r, env); err != nil {
		return err
	}
	var random [16]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return fmt.Errorf("random number: %w", err)
	}
	f.RandomDigits, f.DiskDigits = hex.EncodeToString(random[:8]), hex.EncodeToString(random[8:])
	return nil
}

// findDelegated finds whether the caller could undo limits of the policy's by moving
// PID 1 into another control group, where there are such limits.
func (f *finder) findDelegated() (err error) {
	if f.Rootless || f.Policy.Unbound || f.Policy.Limits.Time == 0 && f.Policy.Limits.Containers == 0 {
		return nil
	}
	f.Delegated, err = cgroup.Delegated()
	return err
}

func (f *finder) findImage(r plan.Request, env []string) error {
	path := f.Policy.Store
	if r.Store != "" {
		if f.Caller.UID != 0 && r.Store != path && !f.Rootless {
			return fmt.Errorf("--store %s: %w; the policy's store is %s", r.Store, caller.ErrNotPermitted, path)
		}
		path = r.Store
	}
	if r.Draft != "" && f.Caller.UID != 0 {
		return fmt.Errorf("draft %s: %w", r.Draft, caller.ErrNotPermitted)
	}
	f.Term = f.wantsTerm(r, env)
	err := privilege.AsRoot(f.here, privilege.None, func() (err error) {
		if f.root.Store, err = image.Open(f.here, path); err != nil {
			return err
		}
		store := f.root.Store
		if f.root.Image, err = store.Open(r.Image, r.Draft, r.Session, f.Caller.UID); err != nil {
			return err
		}
		img := f.root.Image
		f.Version, f.Root = img.Version, img.Path
		if err := access.CheckVersion(store, img, f.Policy); err != nil {
			return err
		}
		if f.ImageEnv, err = img.Environment(); err != nil {
			return err
		}
		f.findHides(mount.RootAt(img.FD()), r)
		if f.ChosenHome(r).Note != "" && !f.Covered(f.HomeName) {
			f.HomeInImage = hasDir(mount.RootAt(img.FD()), f.HomeName)
		}
		f.findImageZone(mount.RootAt(img.FD()), r)
		f.NeedsSnapshot = img.Private || f.missesMountPoint(mount.RootAt(img.FD()), r)
		// An image without a readable /bin/sh may hold a single static program. It gets
		// the personality of the host's own architecture.
		f.Image, _ = img.Architecture()
		if f.RootInside != nil {
			if err := f.findUsers(mount.RootAt(img.FD())); err != nil {
				return err
			}
		}
		f.findShell(mount.RootAt(img.FD()), r)
		f.findLocales(mount.RootAt(img.FD()), r, env)
		f.findTerm(mount.RootAt(img.FD()))
		return access.CheckStore(store)
	})
	if err != nil {
		return err
	}
	if r.Draft != "" {
		f.ImageEnv = r.DraftEnv
	}
	return nil
}

func hasDir(inside mount.Root, name string) bool {
	target, err := inside.Dir(name)
	if err != nil {
		return false
	}
	target.Close()
	return true
}
