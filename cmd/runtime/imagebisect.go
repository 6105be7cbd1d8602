package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/inherit"
	"mayfly/runtime/status"
)

var imageBisect = command{
	name:     "bisect",
	granted:  true,
	passes:   true,
	synopsis: "[--good V] [--bad V] [flags of run] NAME [--] COMMAND [ARG...]",
	summary:  "find the version of an image from which on a command fails",
	examples: []string{"runtime image bisect deb12-i386 -- ./build.sh", "runtime image bisect --good 2 --bad 5 --writable deb12-i386 -- make check"},
	setUp: func(flags *flag.FlagSet) action {
		b := &bisection{}
		flags.IntVar(&b.good, "good", 0, "a version `V` in which the command succeeds (default: the oldest)")
		flags.IntVar(&b.bad, "bad", 0, "a version `V` in which it fails (default: the newest)")
		asJSON := jsonFlag(flags)
		o := declare(flags)
		return func(self process, args []string) (int, error) {
			if err := errors.Join(o.split(flags, args), inherit.Keep()); err != nil {
				return exit(err)
			}
			switch {
			case o.session != "", o.leaves, o.dryRun:
				return exit(errors.New("--session, --detach and --dry-run make no sense here"))
			case o.image == "":
				return exit(errors.New("no image given: `runtime image list` shows what there is"))
			case len(o.command) == 0:
				return exit(errors.New("no command given"))
			}
			b.here, b.image, b.command = self.Here, o.image, o.command
			b.flags = without(flags, invoked[:len(invoked)-len(args)], "good", "bad", "json")
			return exit(b.find(*asJSON))
		}
	},
}

// A bisection looks for the first version in which a command fails.
type bisection struct {
	here           here.Here
	image          string
	good, bad      int // 0: not given
	flags, command []string
}

// A verdict is what a bisection has found.
type verdict struct {
	Good     string          `json:"good"` // the last version in which the command succeeds
	Bad      string          `json:"bad"`  // the next, in which it fails
	Packages []packageChange `json:"packages"`
}

func (b *bisection) find(asJSON bool) error {
	versions, err := b.versions()
	if err != nil {
		return err
	}
	for _, end := range []struct {
		version int
		fails   bool
		text    string
	}{{versions[0], false, "the command fails in %s already: --good V names an older version"}, {versions[len(versions)-1], true, "the command succeeds in %s: --bad V names a version in which it fails"}} {
		fails, err := b.fails(end.version)
		if err != nil {
			return err
		}
		if fails != end.fails {
			return fmt.Errorf(end.text, b.name(end.version))
		}
	}
	for len(versions) > 2 {
		middle := len(versions) / 2
		fails, err := b.fails(versions[middle])
		if err != nil {
			return err
		}
		if fails {
			versions = versions[:middle+1]
		} else {
			versions = versions[middle:]
		}
	}
	return b.tell(versions[0], versions[1], asJSON)
}

func (b *bisection) name(version int) string {
	return ref.Reference{Name: b.image, Version: version}.String()
}

// versions lists the versions to look at, the good one first, the bad one last.
func (b *bisection) versions() (list []int, err error) {
	named, err := ref.Parse(b.image)
	if err != nil {
		return nil, err
	}
	if named.Version != 0 {
		return nil, fmt.Errorf("%s is one version: leave @%d out; --good and --bad choose", b.image, named.Version)
	}
	var history []image.Entry
	if err := access.WithStore(b.here, "", func(s *image.Store) (err error) {
		history, err = s.History(b.image)
		return err
	}); err != nil {
		return nil, err
	}
	for _, e := range history {
		list = append(list, e.Version)
	}
	slices.Sort(list)
	for _, given := range []int{b.good, b.bad} {
		if given != 0 && !slices.Contains(list, given) {
			return nil, fmt.Errorf("there is no %s: `runtime image history %s` lists the versions", b.name(given), b.image)
		}
	}
	list = slices.DeleteFunc(list, func(v int) bool { return v < b.good || b.bad != 0 && v > b.bad })
	if len(list) < 2 {
		return nil, fmt.Errorf("image %s: there are no two versions to look at: `runtime image history %s` lists them", b.image, b.image)
	}
	return list, nil
}

// fails runs the command in a version.
func (b *bisection) fails(version int) (bool, error) {
	name := b.name(version)
	args := append(append([]string{"run"}, b.flags...), name, "--")
	run := itself("runtime", append(args, b.command...)...)
	run.Stdin = os.Stdin
	err := finish(run)
	var ended *exec.ExitError
	switch {
	case err == nil:
		message("runtime: %s: succeeds", name)
		return false, nil
	case !errors.As(err, &ended):
		return false, err
	case ended.ExitCode() < 0 || ended.ExitCode() == status.ExitFailure:
		return false, fmt.Errorf("%s: the command could not be tried: %w", name, err)
	}
	message("runtime: %s: fails with exit status %d", name, ended.ExitCode())
	return true, nil
}

// tell prints the two versions, and the packages in which they differ.
func (b *bisection) tell(good, bad int, asJSON bool) error {
	v := verdict{Good: b.name(good), Bad: b.name(bad), Packages: []packageChange{}}
	unknown := access.WithStore(b.here, "", func(s *image.Store) error {
		d, err := diff(context.Background(), s, v.Good, v.Bad, true)
		if err == nil {
			v.Packages = d.Packages
		}
		return err
	})
	if asJSON {
		return errors.Join(unknown, printJSON(v))
	}
	fmt.Fprintf(stdout, "%s is the first version in which the command fails; in %s it succeeds\n", v.Bad, v.Good)
	difference{Packages: v.Packages}.print()
	if unknown != nil {
		warn(unknown.Error())
	}
	fmt.Fprintf(os.Stderr, "runtime: `runtime image diff %s %s` also compares the files (root)\n", v.Good, v.Bad)
	return nil
}
