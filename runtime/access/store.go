package access

import (
	"fmt"
	"os"

	"mayfly/nsexec"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/privilege"
)

// CheckStore says what is missing for a store that is not on BTRFS.
func CheckStore(store *image.Store) error {
	if store.BTRFS {
		return nil
	}
	return privilege.Require(privilege.OverlayRequirements, ": the image store "+store.Path+" is not on BTRFS; root grants it with `runtime grant`")
}

// StoreCapabilities are the capabilities to make and remove a copy in a store.
func StoreCapabilities(store *image.Store) uint64 {
	if store.BTRFS {
		return privilege.SysAdmin
	}
	return privilege.SysAdmin | privilege.OverlayCapabilities
}

// AsRoot calls f with root's rights on files, for subcommands that look at the
// store or collect what is left in it. It needs the same capabilities as a launch, or
// to be root.
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

// OwnsStore tells whether all that is in the store is the caller's to remove: root's, or of a user
// namespace of their own.
func OwnsStore(h here.Here) bool { return os.Getuid() == 0 || h.Rootless() }

// WithStore opens a store, the policy's if path is empty, and calls f with the rights of root on files, for what any user may
// see or do. Only root may choose a path. What f prints it prints elsewhere: to write a time, say, is to read what the
// caller's TZ names.
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
