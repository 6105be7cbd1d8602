package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/grant"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/network"
	"mayfly/runtime/state"
)

var gcCommand = command{
	name:     "gc",
	granted:  true,
	rootless: asCaller,
	synopsis: "[flags]",
	bare:     true,
	summary:  "remove leftovers of killed containers and image changes",
	examples: []string{"runtime gc", "runtime gc --install-timer"},
	setUp: func(flags *flag.FlagSet) action {
		store := storeFlag(flags)
		asJSON := jsonFlag(flags)
		timer := flags.Bool("install-timer", false, "have systemd run it every hour (root only)")
		return func(self process, _ []string) (int, error) {
			if *timer {
				return asRootOnly(installTimer)(self, nil)
			}
			var removed []string
			err := withStore(self.Here, store, func(s *image.Store) (err error) {
				removed, err = collectAll(s)
				return err
			})
			if *asJSON {
				return exit(errors.Join(err, printJSON(map[string][]string{"removed": append([]string{}, removed...)})))
			}
			for _, name := range removed {
				fmt.Fprintln(stdout, "removed "+printableLine(name))
			}
			return exit(err)
		}
	},
}

// collectAll removes what processes that have ended left behind: snapshots, drafts,
// unfinished versions, control groups, networks and records. Locks tell which processes
// live. (Mounts went with the namespaces of these processes.) Root removes the
// leftovers of all users, other users their own.
func collectAll(s *image.Store) ([]string, error) {
	if !access.OwnsStore(s.Here) {
		return collectOwn(s, uint32(os.Getuid()))
	}
	removed, err := s.Collect(context.Background(), image.Everybody, 0)
	swept, sweep := s.Sweep()
	removed = append(removed, swept...)
	if len(removed) > 0 {
		err = errors.Join(err, s.Reclaim())
	}
	groups, grouped := cgroup.Collect(isAlive(s.Here))
	if os.Getuid() == 0 {
		grouped = errors.Join(grouped, cgroup.Prepare())
	}
	networks, unused := network.Collect(s.Here)
	return slices.Concat(removed, groups, networks), errors.Join(err, sweep, grouped, unused, state.CollectAll(s.Here))
}

// isAlive tells of the containers of an owner whether they are alive.
func isAlive(h here.Here) func(owner uint32, name string) bool {
	return func(owner uint32, name string) bool { return state.IsAlive(h, owner, name) }
}

func collectOwn(s *image.Store, uid uint32) ([]string, error) {
	removed, err := s.Collect(context.Background(), int64(uid), 0)
	groups, grouped := cgroup.CollectOf(uid, isAlive(s.Here))
	networks, unused := network.Collect(s.Here)
	return slices.Concat(removed, groups, networks), errors.Join(err, grouped, unused, state.Collect(s.Here, uid))
}

func installTimer(context.Context, process, []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return grant.InstallTimer(self)
}
