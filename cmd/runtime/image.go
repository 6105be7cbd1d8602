package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/audit"
	"mayfly/runtime/image"
	"mayfly/runtime/imageadmin"
	"mayfly/runtime/status"
)

func imageCommands() []command {
	list := []command{logged(imageCreate), logged(imageShell), logged(imageUpdate), logged(imageImport), imageExport, imageList, imageInspect, imageHistory,
		imageDiff, imageSlim, imageSBOM, imageBisect, imageVerify, logged(imageTag), logged(imageRollback), logged(imagePrune), logged(imageClone), logged(imageRename), logged(imageRemove),
		imageSend, logged(imageReceive), imagePublish, logged(imageSync)}
	for i := range list {
		list[i].granted = true                // all users may list; members of the image-group may change images
		if list[i].name != imageBisect.name { // it calls the program again
			list[i].rootless = asRoot
		}
	}
	return list
}

// logged makes a command that changes images write to the system's log, before and
// after. For a member of the image group the program executes itself again as root, and
// only that process logs.
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

// positional parses flags that stand between and after the arguments, up to "--", and
// checks the number of arguments. names are the arguments' names, for the error.
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

// isEmpty returns the error for an empty argument, as from a shell's unset variable.
func isEmpty(flags *flag.FlagSet, name string) error {
	return fmt.Errorf("the %s is empty: `%s --help` tells more", name, flags.Name())
}

// anyNumber returns names for positional if a command takes any number of arguments of
// one kind.
func anyNumber(name string, args []string) []string {
	return slices.Repeat([]string{name}, max(len(args), 1))
}

// A storeAction is the action of a command that changes images. It runs as root.
type storeAction func(ctx context.Context, s *image.Store, args []string) error

// inStore returns an action that opens the store and calls f. Flags may stand between
// its arguments.
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

// printResult prints the result of a command, as JSON or as text.
func printResult(asJSON bool, v any, format string, args ...any) error {
	if asJSON {
		return printJSON(v)
	}
	_, err := fmt.Fprintln(stdout, printableLine(fmt.Sprintf(format, args...)))
	return err
}

func jsonFlag(flags *flag.FlagSet) *bool { return flags.Bool("json", false, "print JSON") }

// A newVersion is what a command prints about the version that it has made.
type newVersion struct {
	Name string `json:"name"`
	image.Record
}

func printVersion(asJSON bool, name string, r image.Record) error {
	return printResult(asJSON, newVersion{name, r}, "image %s@%d: %s, %d files, %s", name, r.Version, r.Digest, r.Files, bytesOf(r.Bytes))
}

var imageClone = command{
	name:     "clone",
	synopsis: "NAME[@VERSION] NEW",
	summary:  "create a new image from a version",
	examples: []string{"runtime image clone deb12-i386 deb12-next", "runtime image clone deb12-i386@3 deb12-old"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "NEW"}, func(ctx context.Context, s *image.Store, args []string) error {
			p := begin("clone "+args[0], "copy", 0)
			defer p.stop()
			record, err := s.Clone(ctx, args[0], args[1], p.add)
			if err != nil {
				return err
			}
			return printVersion(*asJSON, args[1], record)
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
			return printResult(*asJSON, map[string]string{"name": args[1], "was": args[0]}, "image %s is %s now", args[0], args[1])
		})
	},
}

var imageRemove = command{
	name:     "remove",
	aliases:  []string{"rm"},
	synopsis: "[flags] NAME...",
	summary:  "remove images with all their versions, unless a container uses one",
	examples: []string{"runtime image remove deb11", "runtime image remove --force deb11"},
	setUp: func(flags *flag.FlagSet) action {
		force := flags.Bool("force", false, "refuse new launches at once, and remove the image when its last container ends")
		most := flags.Duration("wait", 10*time.Minute, "with --force: wait at most `DURATION`; after that, the image stays")
		asJSON := jsonFlag(flags)
		return inStore(flags, 1, anyNumber("NAME", make([]string, 1000)), func(ctx context.Context, s *image.Store, args []string) error {
			var wait image.Wait
			if *force {
				if *most <= 0 {
					return fmt.Errorf("--wait %v: want a time such as 30s or 2h", *most)
				}
				wait = image.Wait{Most: *most, Tell: warn}
			}
			removed := []string{}
			var err error
			for _, name := range args {
				if err = s.Remove(ctx, name, wait); err != nil {
					break
				}
				removed = append(removed, name)
				if !*asJSON {
					fmt.Fprintf(stdout, "image %s is removed\n", printableLine(name))
				}
			}
			if *asJSON {
				err = errors.Join(err, printJSON(map[string][]string{"removed": removed}))
			}
			return err
		})
	},
}

// asImageAdmin returns an action that changes images. Root may run it, and so may
// members of the policy's image-group: for them the program executes itself again as
// root. SIGINT, SIGTERM and SIGHUP end the context.
func asImageAdmin(f func(context.Context, process, []string) error) action {
	root := asRootOnly(f)
	return func(self process, args []string) (int, error) {
		if os.Getuid() != 0 {
			return status.ExitFailure, imageadmin.ExecuteAsRoot(self.Here)
		}
		return root(self, args)
	}
}
