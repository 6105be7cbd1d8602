package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/status"
)

func storeCommands() []command {
	return []command{
		{
			name:     "init",
			synopsis: "[flags]",
			bare:     true,
			summary:  "create the image store: in place on BTRFS, else in a file that holds a BTRFS, or with overlayfs (root only)",
			examples: []string{"runtime store init", "runtime store init --size 100G", "runtime store init --store /srv/images"},
			setUp: func(flags *flag.FlagSet) action {
				size := flags.String("size", "20G", "maximum `SIZE` of the file, which grows as it fills: 20G, 500M")
				asJSON := jsonFlag(flags)
				overlay := flags.Bool("overlay", false, "use plain directories and overlayfs instead of BTRFS")
				store := storeFlag(flags)
				return asRootOnly(func(_ context.Context, self process, _ []string) error {
					done, err := image.Init(self.Here, store.path(self.Here), *size, *overlay)
					err = errors.Join(err, cgroup.Prepare())
					did := told{[]string{}}
					did.add(done)
					if err == nil {
						done, err = narrowGrant(self.Here)
						did.add(done)
					}
					return errors.Join(err, did.print(*asJSON))
				})
			},
		},
		{
			name:     "mount",
			synopsis: "[flags]",
			bare:     true,
			summary:  "mount the store that init created, and prepare control groups: at boot, where systemd does not (root only)",
			examples: []string{"runtime store mount"},
			setUp: func(flags *flag.FlagSet) action {
				store := storeFlag(flags)
				return asRootOnly(func(_ context.Context, self process, _ []string) error {
					return errors.Join(image.Mount(store.path(self.Here)), cgroup.Prepare())
				})
			},
		},
		{
			name:     "resize",
			synopsis: "[flags] SIZE",
			summary:  "change how far the file that holds the store may grow (root only)",
			examples: []string{"runtime store resize --store /srv/images 100G"},
			setUp: func(flags *flag.FlagSet) action {
				store := storeFlag(flags)
				asJSON := jsonFlag(flags)
				act := asRootOnly(func(_ context.Context, self process, args []string) error {
					done, err := image.Resize(store.path(self.Here), args[0])
					if err != nil {
						return err
					}
					return told{[]string{done}}.print(*asJSON)
				})
				return func(self process, args []string) (int, error) {
					args, err := positional(flags, args, 1, "size")
					if err != nil {
						return exit(err)
					}
					return act(self, args)
				}
			},
		},
		storeStatus,
	}
}

// told are sentences of what a command did.
type told struct {
	Done []string `json:"done"`
}

func (t *told) add(text string) {
	if text != "" {
		t.Done = append(t.Done, text)
	}
}

func (t told) print(asJSON bool) error {
	if asJSON {
		return printJSON(t)
	}
	for _, text := range t.Done {
		fmt.Fprintln(stdout, printableLine(text))
	}
	return nil
}

var storeStatus = command{
	name:     "status",
	granted:  true,
	rootless: asCaller,
	synopsis: "[--json]",
	bare:     true,
	summary:  "show the store's kind, free space and contents",
	examples: []string{"runtime store status", "runtime store status --json"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		store := storeFlag(flags)
		return func(self process, _ []string) (int, error) {
			var space image.Space
			err := withStore(self.Here, store, func(s *image.Store) (err error) {
				space, err = s.Status()
				return err
			})
			switch {
			case err != nil:
				return exit(err)
			case *asJSON:
				return exit(printJSON(space))
			}
			printSpace(space)
			return 0, nil
		}
	},
}

func printSpace(s image.Space) {
	kind := "BTRFS: snapshots are subvolumes"
	if s.Kind != "btrfs" {
		kind = "overlay: snapshots are overlays; send and receive are impossible; a change of a plain image shows in running containers"
	}
	line := func(name, value string) { fmt.Fprintf(stdout, "%-11s %s\n", name, printableLine(value)) }
	line("store", s.Path)
	line("kind", kind)
	line("space", fmt.Sprintf("%s of %s free", bytesOf(int64(s.Free)), bytesOf(int64(s.Size))))
	for _, p := range s.Pools {
		line(p.Kind, fmt.Sprintf("%s of %s used", bytesOf(int64(p.Used)), bytesOf(int64(p.Total))))
	}
	line("images", fmt.Sprintf("%d, %d versions", s.Images, s.Versions))
	line("containers", fmt.Sprint(s.Running))
	line("snapshots", fmt.Sprintf("%d in use, %d left over", s.Living, s.Leftovers))
	if s.Leftovers > 0 {
		line("to free", count(s.Leftovers, "leftover")+": `runtime gc`")
	}
	if s.Old > 0 {
		line("to free", fmt.Sprintf("%s, up to %s: `runtime image prune --all --keep 1`", count(s.Old, "old version"), bytesOf(s.OldBytes)))
	}
}

// A storeChoice is the --store flag. Its default is the policy's store.
type storeChoice struct{ flag *string }

func storeFlag(flags *flag.FlagSet) storeChoice {
	return storeChoice{flags.String("store", "", "image store `DIR` (root only)")}
}

func (c storeChoice) path(h here.Here) string {
	if *c.flag != "" {
		return *c.flag
	}
	if settings, err := policy.LoadSettings(h); err == nil {
		return settings.Store
	}
	return rule.DefaultStore
}

// withStore opens the chosen store for reading, which any user may do.
func withStore(h here.Here, c storeChoice, f func(*image.Store) error) error {
	return access.WithStore(h, *c.flag, f)
}

// asRootOnly returns an action that only root may run: it changes images or the
// machine. SIGINT, SIGTERM and SIGHUP end the context.
func asRootOnly(f func(context.Context, process, []string) error) action {
	return func(self process, args []string) (int, error) {
		if os.Getuid() != 0 {
			return status.ExitFailure, caller.ErrNotPermitted
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return exit(f(ctx, self, args))
	}
}

func exit(err error) (int, error) {
	if err != nil {
		return status.ExitFailure, err
	}
	return 0, nil
}

func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("argument %q is one too many", args[0])
	}
	return nil
}
