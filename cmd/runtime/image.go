package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"mayfly/runtime/image"
)

func imageCommands() []command {
	return []command{imageCreate, imageList, imageRemove}
}

var imageCreate = command{
	name:     "create",
	synopsis: "NAME --suite SUITE [flags]",
	summary:  "make an image of a Debian or Ubuntu release with mmdebstrap or debootstrap (root)",
	examples: []string{
		"runtime image create deb12-i386 --suite bookworm --arch i386 --include build-essential,git",
		"runtime image create deb11 --suite bullseye --mirror http://mirror.example/debian",
	},
	setUp: func(flags *flag.FlagSet) action {
		var b image.Bootstrap
		flags.StringVar(&b.Suite, "suite", "", "`SUITE` of the distribution: bookworm, jammy")
		flags.StringVar(&b.Arch, "arch", image.HostArch(), "Debian `ARCH`: amd64, i386, arm64, armhf")
		flags.StringVar(&b.Variant, "variant", "minbase", "`VARIANT` of the bootstrap program")
		flags.Func("include", "`PACKAGES` to add, separated by commas", func(list string) error {
			b.Include = append(b.Include, strings.Split(list, ",")...)
			return nil
		})
		flags.StringVar(&b.Mirror, "mirror", "http://deb.debian.org/debian", "`URL` to download from")
		store := storeFlag(flags)
		return asRootOnly(func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return errors.New("no NAME given for the image")
			}
			name := args[0]
			if err := flags.Parse(args[1:]); err != nil { // flags after the name
				return err
			}
			if err := noArguments(flags.Args()); err != nil {
				return err
			}
			s, err := image.Open(store.path())
			if err != nil {
				return err
			}
			defer s.Close()
			b.Output = os.Stderr
			if err := s.Create(ctx, name, b); err != nil {
				return err
			}
			fmt.Println("created image " + name)
			return nil
		})
	},
}

var imageList = command{
	name:     "list",
	granted:  true,
	synopsis: "[--json]",
	bare:     true,
	summary:  "list the images",
	examples: []string{"runtime image list", "runtime image list --json"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := flags.Bool("json", false, "print JSON")
		store := storeFlag(flags)
		return func([]string) (int, error) {
			var list []image.Description
			err := withStore(store, func(s *image.Store) (err error) {
				list, err = s.List()
				return err
			})
			switch {
			case err != nil:
				return exit(err)
			case *asJSON:
				return exit(printJSON(list))
			}
			return exit(printImages(list))
		}
	},
}

func printImages(list []image.Description) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tARCH\tCREATED\tKIND")
	for _, d := range list {
		created := "-"
		if !d.Created.IsZero() {
			created = d.Created.Local().Format("2006-01-02 15:04")
		}
		arch := d.Arch
		if arch == "" {
			arch = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(d.Name), arch, created, d.Kind)
	}
	return w.Flush()
}

var imageRemove = command{
	name:     "remove",
	synopsis: "NAME...",
	summary:  "remove images; containers that run on a snapshot keep it (root)",
	examples: []string{"runtime image remove deb11"},
	setUp: func(flags *flag.FlagSet) action {
		store := storeFlag(flags)
		return asRootOnly(func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return errors.New("no image given: `runtime image list` shows what there is")
			}
			s, err := image.Open(store.path())
			if err != nil {
				return err
			}
			defer s.Close()
			for _, name := range args {
				if err := s.Remove(name); err != nil {
					return err
				}
			}
			return nil
		})
	},
}
