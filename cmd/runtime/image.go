package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mayfly/runtime/audit"
	"mayfly/runtime/image"
	"mayfly/runtime/imageadmin"
	"mayfly/runtime/status"
)

func imageCommands() []command {
	list := []command{logged(imageCreate), logged(imageShell), logged(imageImport), imageExport, imageList, imageInspect, imageHistory,
		imageDiff, imageVerify, logged(imageRollback), logged(imagePrune), logged(imageClone), logged(imageRename), logged(imageRemove),
		imageSend, logged(imageReceive)}
	for i := range list {
		list[i].granted = true // for those who may list, and for the policy's image-group
		list[i].own = asRoot
	}
	return list
}

// logged tells the system's log of a command that changes images, before and after. A
// member of the image group comes here again as root, and is told of then.
func logged(c command) command {
	setUp := c.setUp
	c.setUp = func(flags *flag.FlagSet) action {
		act := setUp(flags)
		return func(self process, args []string) (int, error) {
			if os.Getuid() != 0 {
				return act(self, args)
			}
			var image string
			if len(args) > 0 {
				image = args[0]
			}
			account, lost := audit.BeginChange(self.Here, "image "+c.name, image, "", os.Args[1:])
			code, err := act(self, args)
			if lost = cmp.Or(account.Ended(err), lost); lost != nil {
				warn(lost.Error())
			}
			return code, err
		}
	}
	return c
}

// positional parses flags that may stand between and after the arguments, up to "--", and checks how many arguments there
// are. names are those of the arguments, for the message.
func positional(flags *flag.FlagSet, args []string, least int, names ...string) ([]string, error) {
	var found []string
	for len(args) > 0 {
		if args[0] == "--" {
			found = append(found, args[1:]...)
			break
		}
		found = append(found, args[0])
		if err := parse(flags, args[1:]); err != nil {
			return nil, err
		}
		args = flags.Args()
	}
	if len(found) < least {
		return nil, fmt.Errorf("no %s given: `%s --help` tells more", names[len(found)], flags.Name())
	}
	if len(found) > len(names) {
		return nil, fmt.Errorf("argument %q is one too many", found[len(names)])
	}
	if i := slices.Index(found, ""); i >= 0 {
		return nil, isEmpty(flags, names[i])
	}
	return found, nil
}

// isEmpty says which argument has nothing in it, as a shell's unset variable gives it.
func isEmpty(flags *flag.FlagSet, name string) error {
	return fmt.Errorf("the %s is empty: `%s --help` tells more", name, flags.Name())
}

// anyNumber are the names of any number of arguments that are the same.
func anyNumber(name string, args []string) []string {
	return slices.Repeat([]string{name}, max(len(args), 1))
}

// A storeAction is what a command that changes images does, as root.
type storeAction func(ctx context.Context, s *image.Store, args []string) error

// inStore opens the store for an action, whose arguments may be between its flags.
func inStore(flags *flag.FlagSet, least int, names []string, f storeAction) action {
	store := storeFlag(flags)
	act := asImageAdmin(func(ctx context.Context, self process, args []string) error {
		s, err := image.Open(self.Here, store.path(self.Here))
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Explain(f(ctx, s, args))
	})
	return func(self process, args []string) (int, error) {
		args, err := positional(flags, args, least, names...)
		if err != nil {
			return exit(err)
		}
		return act(self, args)
	}
}

// told prints what has come to be, as JSON or in words.
func told(asJSON bool, v any, format string, args ...any) error {
	if asJSON {
		return printJSON(v)
	}
	_, err := fmt.Fprintln(stdout, printableLine(fmt.Sprintf(format, args...)))
	return err
}

func jsonFlag(flags *flag.FlagSet) *bool { return flags.Bool("json", false, "print JSON") }

// A sealed is what a command tells of the version that it has made.
type sealed struct {
	Name string `json:"name"`
	image.Record
}

func tellSealed(asJSON bool, name string, r image.Record) error {
	return told(asJSON, sealed{name, r}, "image %s@%d: %s, %d files, %s", name, r.Version, r.Digest, r.Files, bytesOf(r.Bytes))
}

var imageClone = command{
	name:     "clone",
	synopsis: "NAME[@VERSION] NEW",
	summary:  "create a new image from a version",
	examples: []string{"runtime image clone deb12-i386 deb12-next", "runtime image clone deb12-i386@3 deb12-old"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "NEW"}, func(ctx context.Context, s *image.Store, args []string) error {
			p := begin("clone "+args[0], 0)
			defer p.stop()
			record, err := s.Clone(ctx, args[0], args[1], p.add)
			if err != nil {
				return err
			}
			return tellSealed(*asJSON, args[1], record)
		})
	},
}

var imageRename = command{
	name:     "rename",
	synopsis: "NAME NEW",
	summary:  "rename an image; running containers keep running",
	examples: []string{"runtime image rename deb12-next deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "NEW"}, func(_ context.Context, s *image.Store, args []string) error {
			if err := s.Rename(args[0], args[1]); err != nil {
				return err
			}
			return told(*asJSON, map[string]string{"name": args[1], "was": args[0]}, "image %s is %s now", args[0], args[1])
		})
	},
}

var imageRemove = command{
	name:     "remove",
	synopsis: "[flags] NAME...",
	summary:  "remove images with all their versions, unless a container uses one",
	examples: []string{"runtime image remove deb11", "runtime image remove --force deb11"},
	setUp: func(flags *flag.FlagSet) action {
		force := flags.Bool("force", false, "refuse new launches at once, and remove the image when its last container ends")
		most := flags.Duration("wait", 10*time.Minute, "with --force: wait at most `DURATION`; after that, the image stays")
		asJSON := jsonFlag(flags)
		return inStore(flags, 1, strings.Split("NAME"+strings.Repeat(" NAME", 999), " "), func(ctx context.Context, s *image.Store, args []string) error {
			var wait image.Wait
			if *force {
				if *most <= 0 {
					return fmt.Errorf("--wait %v: want a time such as 30s or 2h", *most)
				}
				wait = image.Wait{Most: *most, Tell: warn}
			}
			for _, name := range args {
				if err := s.Remove(ctx, name, wait); err != nil {
					return err
				}
				if *asJSON {
					if err := printJSON(map[string]string{"removed": name}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	},
}

// asImageAdmin is for what changes images: root, and members of the policy's image-group, for whom the program is
// executed again as root. The context ends with SIGINT, SIGTERM and SIGHUP.
func asImageAdmin(f func(context.Context, process, []string) error) action {
	root := asRootOnly(f)
	return func(self process, args []string) (int, error) {
		if os.Getuid() != 0 {
			return status.ExitFailure, imageadmin.ExecuteAsRoot(self.Here)
		}
		return root(self, args)
	}
}
