package access

import (
	"fmt"
	"os"
	"strings"

	"mayfly/nsexec"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
)

// CheckStore returns an error if the store is not on BTRFS and a capability for
// overlays is missing.
func CheckStore(store *image.Store) error {
	if store.BTRFS {
		return nil
	}
	return privilege.Require(privilege.OverlayRequirements, ": the image store "+store.Path+" is not on BTRFS; root grants it with `runtime grant`")
}

// CheckVersion returns an error that wraps rule.ErrDenied if the rule does not let the
// caller run this version of an image. The thread must act on files as root.
func CheckVersion(s *image.Store, img *image.Image, d rule.Decision) error {
	if len(d.Versions) == 0 || d.Unbound {
		return nil
	}
	offered, err := s.Offers(img, d.Versions)
	if err == nil && !offered {
		err = fmt.Errorf("image %s: %w: %s allows versions %s", img, rule.ErrDenied, d.Place(), strings.Join(d.Versions, ", "))
	}
	return err
}

// StoreCapabilities returns the capabilities that making and removing a snapshot in a
// store takes.
func StoreCapabilities(store *image.Store) uint64 {
	if store.BTRFS {
		return privilege.SysAdmin
	}
	return privilege.SysAdmin | privilege.OverlayCapabilities
}

// AsRoot calls f with root's rights on files, for commands that look at the store or
// collect leftovers in it. It needs the same grant as a launch, or root. See
// privilege.AsRoot.
func AsRoot(h here.Here, f func() error) error {
	if err := privilege.Check(); err != nil {
		return err
	}
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	return privilege.AsRoot(h, privilege.SysAdmin|(privilege.OverlayCapabilities|privilege.NetworkCapabilities)&have.Permitted, f)
}

// OwnsStore tells whether the caller may remove everything in the store: root, or a
// rootless caller in their own.
func OwnsStore(h here.Here) bool { return os.Getuid() == 0 || h.Rootless() }

// WithStore opens a store and calls f with root's rights on files, for what any user
// may see or do. path "" is the policy's store; only root and rootless callers may name
// another. The store is closed after f. f must print nothing: to format a time, for
// instance, would read the file that the caller's TZ names.
func WithStore(h here.Here, path string, f func(*image.Store) error) error {
	if path != "" && os.Getuid() != 0 && !h.Rootless() {
		return fmt.Errorf("--store: %w", caller.ErrNotPermitted)
	}
	return AsRoot(h, func() error {
		if path == "" {
			settings, err := policy.LoadSettings(h)
			if err != nil {
				return err
			}
			path = settings.Store
		}
		s, err := image.Open(h, path)
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Explain(f(s))
	})
}
