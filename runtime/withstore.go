package runtime

import (
	"fmt"
	"os"

	"mayfly/runtime/image"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/policy"
)

// OwnsStore tells whether all that is in the store is the caller's to remove: root's, or of a user
// namespace of their own.
func OwnsStore() bool { return os.Getuid() == 0 || realm.Own() }

// WithStore opens a store, the policy's if path is empty, and calls f with the rights of root on files, for what any user may
// see or do. Only root may choose a path. What f prints it prints elsewhere: to write a time, say, is to read what the
// caller's TZ names.
func WithStore(path string, f func(*image.Store) error) error {
	if path != "" && os.Getuid() != 0 && !realm.Own() {
		return fmt.Errorf("--store: %w", ErrNotPermitted)
	}
	return AsRoot(func() error {
		if path == "" {
			settings, err := policy.LoadSettings()
			if err != nil {
				return err
			}
			path = settings.Store
		}
		s, err := image.Open(path)
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Explain(f(s))
	})
}
