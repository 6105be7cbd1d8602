package runtime

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/personality/arch"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/user"
)

// Survey finds the facts that a plan depends on: who calls, what the
// administrator has decided, what the image is. It changes nothing.
func Survey(r Request) (Facts, error) {
	var f Facts
	var err error
	if f.Caller, err = CurrentCaller(); err != nil {
		return f, err
	}
	f.Own, f.HasIDs = realm.Own(), realm.HasIDs()
	if err := r.check(f.Caller, f.Own); err != nil {
		return f, err
	}
	if _, err := ref.Parse(r.Image); err != nil {
		return f, err
	}
	if err := checkTmpfs(r.Tmpfs, f.Caller); err != nil {
		return f, err
	}
	if err := checkPrivilege(); err != nil {
		return f, err
	}
	database, err := user.Load()
	if err != nil {
		return f, fmt.Errorf("read user database: %w", err)
	}
	if err := f.findUser(r, database); err != nil {
		return f, err
	}
	if f.Policy, err = decide(r.name(), f.Caller, database); err != nil {
		return f, err
	}
	if err := f.leaveOut(r.NoBinds); err != nil {
		return f, err
	}
	if err := f.findDelegated(); err != nil {
		return f, err
	}
	if err := f.findJoined(r, database); err != nil {
		return f, err
	}
	if r.RootInside {
		if err := f.findRootInside(r, database); err != nil {
			return f, err
		}
	}
	if f.Host, err = hostArchitecture(); err != nil {
		return f, err
	}
	// Without what the image says, which is no home, shell, terminal or locale of its own.
	env, err := environment(r, nil, f.Caller, f.Policy.Passes, f.runsAs())
	if err != nil {
		return f, err
	}
	f.findHostFiles(r)
	f.findDirs(r, env)
	if err := f.findImage(r, env); err != nil {
		return f, err
	}
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return f, fmt.Errorf("random number: %w", err)
	}
	f.RandomDigits = hex.EncodeToString(random[:])
	return f, nil
}

// findDelegated asks what could undo the policy's limits, where there are such.
func (f *Facts) findDelegated() (err error) {
	if f.Own || f.Policy.Unbound || f.Policy.Limits.Time == 0 && f.Policy.Limits.Containers == 0 {
		return nil
	}
	f.Delegated, err = cgroup.Delegated()
	return err
}

func hostArchitecture() (arch.Architecture, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return arch.Architecture{}, fmt.Errorf("uname: %w", err)
	}
	machine := unix.ByteSliceToString(name.Machine[:])
	if machine == "i686" { // the caller's own personality, not the machine's
		machine = "x86_64"
	}
	return arch.ByName(machine)
}

func (f *Facts) findImage(r Request, env []string) error {
	path := f.Policy.Store
	if r.Store != "" {
		if f.Caller.UID != 0 && r.Store != path && !f.Own {
			return fmt.Errorf("--store %s: %w; the policy's store is %s", r.Store, ErrNotPermitted, path)
		}
		path = r.Store
	}
	if r.Draft != "" && f.Caller.UID != 0 {
		return fmt.Errorf("draft %s: %w", r.Draft, ErrNotPermitted)
	}
	f.Term = f.wantsTerm(r, env)
	onBTRFS := false
	err := asRoot(f.Caller, noCapability, func() error {
		store, err := image.Open(path)
		if err != nil {
			return err
		}
		defer store.Close()
		onBTRFS = store.BTRFS
		img, err := openImage(store, r.Image, r.Draft, r.Session, f.Caller)
		if err != nil {
			return err
		}
		defer img.Close()
		f.Version, f.Root = img.Version, img.Path
		if f.ImageEnv, err = img.Environment(); err != nil {
			return err
		}
		f.findHides(mount.RootAt(img.FD()), r)
		if f.home(r).note != "" && !f.covered(f.HomeName) {
			f.HomeInImage = hasDir(mount.RootAt(img.FD()), f.HomeName)
		}
		f.findImageZone(mount.RootAt(img.FD()), r)
		f.CopyFirst = img.Private || f.lacks(mount.RootAt(img.FD()), r)
		// An image without a readable /bin/sh runs as the host's own architecture:
		// it may hold nothing but one static program.
		f.Image, _ = img.Architecture()
		if f.RootInside != nil {
			if err := f.findUsers(mount.RootAt(img.FD())); err != nil {
				return err
			}
		}
		f.findShell(mount.RootAt(img.FD()), r)
		f.findLocales(mount.RootAt(img.FD()), r, env)
		f.findTerm(mount.RootAt(img.FD()))
		return CheckStore(store)
	})
	if err != nil {
		return err
	}
	if r.Draft != "" {
		f.ImageEnv = r.DraftEnv
	}
	needed := LaunchCapabilities
	if !onBTRFS {
		needed |= OverlayCapabilities
	}
	if f.private(r) {
		needed |= NetworkCapabilities
	}
	return renounceMore(f.Caller, needed)
}

func openImage(store *image.Store, name, draft, session string, c Caller) (*image.Image, error) {
	switch {
	case draft != "":
		return store.OpenDraft(draft)
	case session != "":
		return store.Session(c.UID, session)
	}
	return store.Image(name)
}

func hasDir(inside mount.Root, name string) bool {
	target, err := inside.Dir(name)
	if err != nil {
		return false
	}
	target.Close()
	return true
}

// lacks tells whether something is to be mounted where a version has nothing to mount on. The usual mount points were
// made when it was sealed.
func (f *Facts) lacks(inside mount.Root, r Request) bool {
	var wanted []string
	for name, present := range f.Present {
		if present {
			wanted = append(wanted, name)
		}
	}
	for _, b := range slices.Concat(f.along(r), r.Binds) {
		wanted = append(wanted, b.Destination)
	}
	for _, t := range r.Tmpfs {
		wanted = append(wanted, t.Destination)
	}
	return slices.ContainsFunc(wanted, func(name string) bool {
		if image.IsMountPoint(name) || madeInside(name, r) {
			return false
		}
		target, err := inside.Name(name)
		if err != nil {
			return true
		}
		target.Close()
		return false
	})
}

// madeInside tells whether a mount point lies on a file system of the container's own, where it is made.
func madeInside(name string, r Request) bool {
	under := func(top string) bool { return strings.HasPrefix(name, top+"/") }
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return under(m.Destination) }) ||
		slices.ContainsFunc(r.Tmpfs, func(t Tmpfs) bool { return under(t.Destination) })
}

// onOwnMount tells whether a name is on a file system of the container's own, where
// there is nothing to hide.
func onOwnMount(name string, r Request) bool {
	return madeInside(name+"/", r)
}

// isOwnMount tells whether every container has a file system of its own there.
func isOwnMount(name string) bool {
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return m.Destination == name })
}

// maxHosts bounds what a container's /etc/hosts takes over from the host's, in bytes.
const maxHosts = 1 << 20

// findHostFiles finds which of the host's files there are to bind.
func (f *Facts) findHostFiles(r Request) {
	f.Present = map[string]bool{}
	for i, list := range [][]string{hostFiles, f.Policy.BindReadOnly, f.Policy.Bind} {
		for _, name := range list {
			id, err := identify(name)
			if err == nil && i > 0 && !r.NoEphemeral {
				f.Bound = append(f.Bound, boundSource{id, name})
			}
			if errors.Is(err, unix.EACCES) { // what the policy names may be closed to the caller
				err = asRoot(f.Caller, noCapability, func() error {
					_, err := os.Lstat(name)
					return err
				})
			}
			f.Present[name] = err == nil
		}
	}
	if hosts, err := file.Read("/etc/hosts", maxHosts); err == nil {
		f.Hosts = string(hosts)
	}
	if f.private(r) {
		f.Servers = nameServers()
	}
	f.findZone()
	if r.changesRoot() {
		resolv, _ := file.Read(resolvConf, maxHosts)
		f.Resolv = string(resolv)
	}
}
