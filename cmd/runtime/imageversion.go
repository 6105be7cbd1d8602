package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/image/tree"
)

var imageRollback = command{
	name:     "rollback",
	synopsis: "NAME[@VERSION]",
	summary:  "make the previous version current, or another one",
	examples: []string{"runtime image rollback deb12-i386", "runtime image rollback deb12-i386@5"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return inStore(flags, 1, []string{"NAME"}, func(_ context.Context, s *image.Store, args []string) error {
			ref, err := ref.Parse(args[0])
			if err != nil {
				return err
			}
			version, err := s.Rollback(ref)
			if err != nil {
				return err
			}
			return printResult(*asJSON, map[string]any{"name": ref.Name, "version": version}, "image %s: version %d is current", ref.Name, version)
		})
	},
}

var imagePrune = command{
	name:     "prune",
	synopsis: "[flags] NAME... | --all",
	summary:  "remove old versions, except the current one and those in use",
	examples: []string{"runtime image prune --keep 3 deb12-i386", "runtime image prune --all --older-than 90d --keep 2"},
	setUp: func(flags *flag.FlagSet) action {
		keep := flags.Int("keep", 3, "keep the latest `N` versions")
		all := flags.Bool("all", false, "prune all images")
		age := new(age)
		flags.Var(age, "older-than", "remove only what was neither made nor used for `DURATION`, e.g. 12h, 90d, 8w")
		asJSON := jsonFlag(flags)
		return inStore(flags, 0, anyNumber("NAME", make([]string, 1000)), func(_ context.Context, s *image.Store, args []string) error {
			switch {
			case *all && len(args) > 0:
				return errors.New("--all and names exclude each other")
			case !*all && len(args) == 0:
				return errors.New("no NAME given; --all prunes all images")
			}
			if *all {
				var err error
				if args, err = withVersions(s); err != nil {
					return err
				}
			}
			spare := image.Spare{Latest: *keep}
			if *age > 0 {
				spare.Since = time.Now().Add(-time.Duration(*age))
			}
			return prune(s, args, spare, *asJSON)
		})
	},
}

// withVersions lists the images that have versions.
func withVersions(s *image.Store) (names []string, err error) {
	list, err := s.List()
	for _, d := range list {
		if d.Versions > 0 {
			names = append(names, d.Name)
		}
	}
	return names, err
}

// pruned is what was done with an image's versions.
type pruned struct {
	Name    string `json:"name"`
	Removed []int  `json:"removed"`
	InUse   []int  `json:"inUse"`
}

func prune(s *image.Store, names []string, spare image.Spare, asJSON bool) error {
	list, told := []pruned{}, 0
	for _, name := range names {
		p := pruned{Name: name, Removed: []int{}, InUse: []int{}}
		gone, busy, err := s.Prune(name, spare)
		p.Removed, p.InUse = append(p.Removed, gone...), append(p.InUse, busy...)
		list, told = append(list, p), told+len(gone)+len(busy)
		if !asJSON {
			for _, n := range gone {
				fmt.Fprintf(stdout, "removed %s@%d\n", name, n)
			}
			for _, n := range busy {
				fmt.Fprintf(stdout, "%s@%d is in use and stays\n", name, n)
			}
		}
		if err != nil {
			if asJSON {
				err = errors.Join(err, printJSON(list))
			}
			return err
		}
	}
	if asJSON {
		return printJSON(list)
	}
	if told == 0 {
		fmt.Fprintln(stdout, "nothing to remove")
	}
	return nil
}

// age is the value of a flag: a duration that may be in days (d) or weeks (w).
type age time.Duration

func (a *age) String() string {
	if *a == 0 {
		return ""
	}
	return time.Duration(*a).String()
}

// Type implements flag.Value.
func (*age) Type() string { return "age" }

// Set implements flag.Value.
func (a *age) Set(text string) error {
	unit := time.Duration(0)
	number, days := strings.CutSuffix(text, "d")
	if days {
		unit = 24 * time.Hour
	} else if number, days = strings.CutSuffix(text, "w"); days {
		unit = 7 * 24 * time.Hour
	}
	var d time.Duration
	var err error
	if days {
		var n uint64
		n, err = strconv.ParseUint(number, 10, 16)
		d = time.Duration(n) * unit
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return errors.New("want a time such as 12h, 90d or 8w")
	}
	*a = age(d)
	return nil
}

var imageVerify = command{
	name:     "verify",
	synopsis: "NAME[@VERSION]",
	summary:  "compare a version's content with its recorded digest",
	examples: []string{"runtime image verify deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return inStore(flags, 1, []string{"NAME"}, func(ctx context.Context, s *image.Store, args []string) error {
			p := begin("verify "+args[0], "read", contentOf(s, args[0]))
			record, err := s.Verify(ctx, args[0], p.add)
			p.stop()
			if err != nil {
				return err
			}
			return printResult(*asJSON, map[string]any{"version": record.Version, "digest": record.Digest, "verified": true},
				"%s: version %d matches its digest, %s", args[0], record.Version, record.Digest)
		})
	},
}

var imageDiff = command{
	name:     "diff",
	synopsis: "NAME[@VERSION] NAME[@VERSION]",
	summary:  "compare two versions or images, by packages and files",
	examples: []string{"runtime image diff deb12-i386@1 deb12-i386@2", "runtime image diff --packages deb11 deb12"},
	setUp: func(flags *flag.FlagSet) action {
		packages := flags.Bool("packages", false, "compare packages only")
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "NAME"}, func(ctx context.Context, s *image.Store, args []string) error {
			d, err := diff(ctx, s, args[0], args[1], *packages)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(d)
			}
			d.print()
			return nil
		})
	},
}

// A difference is the difference between two root file systems.
type difference struct {
	Packages []packageChange `json:"packages"`
	Files    []tree.Change   `json:"files,omitempty"`
}

// A packageChange is a package's version before and after; "" if the package is
// missing.
type packageChange struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

func diff(ctx context.Context, s *image.Store, from, to string, packages bool) (d difference, err error) {
	a, err := s.Image(from)
	if err != nil {
		return d, err
	}
	defer a.Close()
	b, err := s.Image(to)
	if err != nil {
		return d, err
	}
	defer b.Close()
	if d.Packages, err = packageChanges(a, b); err != nil || packages {
		return d, err
	}
	p := begin("compare", "read", 0)
	defer p.stop()
	d.Files, err = tree.Diff(ctx, a.FD(), b.FD())
	return d, err
}

func packageChanges(a, b *image.Image) ([]packageChange, error) {
	before, err := a.Packages()
	if err != nil {
		return nil, err
	}
	after, err := b.Packages()
	if err != nil {
		return nil, err
	}
	return changesOf(before, after), nil
}

// changesOf lists the packages whose versions differ, by name.
func changesOf(before, after map[string]string) []packageChange {
	all := map[string]string{}
	for name := range before {
		all[name] = ""
	}
	for name := range after {
		all[name] = ""
	}
	changes := []packageChange{}
	for _, name := range sorted(all) {
		if before[name] != after[name] {
			changes = append(changes, packageChange{name, before[name], after[name]})
		}
	}
	return changes
}

func (d difference) print() {
	for _, p := range d.Packages {
		switch {
		case p.From == "":
			fmt.Fprintf(stdout, "package  added    %s %s\n", printableLine(p.Name), printableLine(p.To))
		case p.To == "":
			fmt.Fprintf(stdout, "package  removed  %s %s\n", printableLine(p.Name), printableLine(p.From))
		default:
			fmt.Fprintf(stdout, "package  changed  %s %s to %s\n", printableLine(p.Name), printableLine(p.From), printableLine(p.To))
		}
	}
	for _, f := range d.Files {
		line := fmt.Sprintf("file     %-8s /%s", f.Kind, printableLine(f.Path))
		if f.What != "" {
			line += " (" + f.What + ")"
		}
		fmt.Fprintln(stdout, line)
	}
}
