package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/grant"
	"mayfly/runtime/image"
	"mayfly/runtime/status"
)

// updatePackages updates the packages of a Debian system. Its output goes to standard
// error: standard output is for what has changed. A question about a configuration file
// that was changed by hand is answered with the old file.
const updatePackages = `exec >&2
apt-get -q -o APT::Update::Error-Mode=any update
apt-get -qy -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold full-upgrade`

var imageUpdate = command{
	name:     "update",
	synopsis: "[flags] NAME... | --all | --install-timer",
	summary:  "update the packages of images, as their next versions; where nothing is new, there is none",
	examples: []string{"runtime image update deb12-i386", "runtime image update --all", "runtime image update --install-timer"},
	setUp: func(flags *flag.FlagSet) action {
		var u update
		all := flags.Bool("all", false, "update all images that have versions and packages of Debian's")
		timer := flags.Bool("install-timer", false, "have systemd update all images every day (root only)")
		flags.BoolVar(&u.mapped, "root", false, "be root of a user namespace only, mapped to root's subordinate ids; see subuid(5)")
		flags.BoolVar(&u.asJSON, "json", false, "print JSON")
		act := inStore(flags, 0, anyNumber("NAME", make([]string, 1000)), func(ctx context.Context, s *image.Store, args []string) error {
			switch {
			case *all && len(args) > 0:
				return errors.New("--all and names exclude each other")
			case !*all && len(args) == 0:
				return errors.New("no NAME given; --all updates all images")
			}
			u.all = *all
			if *all {
				var err error
				if args, err = withVersions(s); err != nil {
					return err
				}
			}
			return u.run(ctx, s, args)
		})
		return func(self process, args []string) (int, error) {
			if !*timer {
				return act(self, args)
			}
			if len(args) > 0 || flags.NFlag() > 1 {
				return exit(errors.New("--install-timer updates all images of the policy's store: leave names and other flags out"))
			}
			return asRootOnly(func(context.Context, process, []string) error {
				path, err := os.Executable()
				if err != nil {
					return err
				}
				return grant.InstallUpdateTimer(path)
			})(self, nil)
		}
	},
}

// An update updates packages of images.
type update struct {
	all, mapped, asJSON bool
	signals             <-chan os.Signal
	stopped             bool // a signal has ended apt-get: the user wants no more
}

// updated is what was done with an image.
type updated struct {
	Name     string          `json:"name"`
	Version  int             `json:"version"`          // the current one, after the update
	Digest   string          `json:"digest,omitempty"` // of a new version
	Packages []packageChange `json:"packages"`         // none: there is no new version
}

// run updates images one after the other. A failure with one does not keep others from
// their updates; a signal does.
func (u *update) run(ctx context.Context, s *image.Store, names []string) (err error) {
	if u.signals, err = listen(syscall.SIGTSTP); err != nil {
		return err
	}
	list, errs := []updated{}, []error{}
	for _, name := range names {
		done, err := u.image(ctx, s, name)
		switch {
		case u.all && (errors.Is(err, errNoPackages) || errors.Is(err, errNotLatest)):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("update %s: %w", name, err))
		default:
			list = append(list, done)
			if !u.asJSON {
				done.print()
			}
		}
		if ctx.Err() != nil || u.stopped || errors.As(err, new(status.ErrInterrupted)) {
			break
		}
	}
	if u.asJSON {
		errs = append(errs, printJSON(list))
	}
	return errors.Join(errs...)
}

// errNotLatest means that somebody has gone back to an older version, for a reason.
var errNotLatest = errors.New("the current version is not the latest")

// errNoPackages means that an image's packages are not Debian's.
var errNoPackages = errors.New("there are no packages that dpkg knows")

func (u *update) image(ctx context.Context, s *image.Store, name string) (done updated, err error) {
	from, err := s.Image(name)
	if err != nil {
		return done, err
	}
	defer from.Close()
	done = updated{Name: from.Name, Version: from.Version, Packages: []packageChange{}}
	if !from.Sealed() {
		return done, fmt.Errorf("it %w: `runtime image import NEW %s` makes one with versions", image.ErrPlain, from.Path)
	}
	if u.all {
		history, err := s.History(from.Name)
		if err != nil {
			return done, err
		}
		if last := history[len(history)-1]; !last.Current {
			warn(fmt.Sprintf("image %s: version %d is current and not the latest, as after a rollback: it stays; `runtime image update %s` updates it", name, from.Version, name))
			return done, errNotLatest
		}
	}
	before, err := from.Packages()
	if err != nil {
		return done, err
	}
	if len(before) == 0 {
		return done, errNoPackages
	}
	p := begin("update "+name, "copy", 0)
	draft, err := s.NewDraft(ctx, from, p.add)
	p.stop()
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	downloads, err := draft.Downloads()
	if err != nil {
		return done, err
	}
	m := maintenance{here: s.Here, store: s.Path, image: from.Name, draft: draft, command: []string{"sh", "-ec", updatePackages}, mapped: u.mapped, signals: u.signals}
	how, err := m.run(ctx)
	if err != nil {
		return done, err
	}
	if how.ExitCode() != 0 {
		u.stopped = how.ExitCode() > status.ExitSignal
		return done, fmt.Errorf("apt-get %s: the image stays as it is", how)
	}
	after, err := draft.Packages()
	if err != nil || maps.Equal(before, after) {
		return done, err
	}
	if err := removeDownloads(draft, downloads); err != nil {
		return done, err
	}
	done.Packages = changesOf(before, after)
	seal := begin("update "+name, "seal", 0)
	defer seal.stop()
	record, err := draft.Seal(ctx, image.Sealing{Name: from.Name, Next: true, Origin: "update of " + from.String(), Progress: seal.add})
	done.Version, done.Digest = record.Version, record.Digest
	return done, err
}

func (u updated) print() {
	if len(u.Packages) == 0 {
		fmt.Fprintf(stdout, "image %s@%d is up to date\n", u.Name, u.Version)
		return
	}
	fmt.Fprintf(stdout, "image %s@%d: %s, %s\n", u.Name, u.Version, u.Digest, count(len(u.Packages), "package"))
	difference{Packages: u.Packages}.print()
}
