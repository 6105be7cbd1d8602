package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/grant"
	"mayfly/runtime/image"
	"mayfly/runtime/image/mirror"
)

var imageSync = command{
	name:     "sync",
	synopsis: "[flags] SOURCE [NAME...]",
	summary:  "make images what they are at SOURCE: ssh://HOST, or what `runtime image publish` filled, as a directory or https://",
	examples: []string{
		"runtime image sync ssh://images.example.org deb12-i386",
		"runtime image sync /net/images",
		"runtime image sync --signers /etc/mayfly/signers https://images.example.org/mayfly",
		"runtime image sync --prune --install-timer https://images.example.org/mayfly",
	},
	setUp: func(flags *flag.FlagSet) action {
		var s syncing
		flags.BoolVar(&s.Current, "current", false, "bring only the current version of each image")
		flags.BoolVar(&s.Prune, "prune", false, "remove the versions of these images that SOURCE no longer has, unless they are in use")
		flags.StringVar(&s.trust.Signers, "signers", "", "`FILE` of allowed signers (see ssh-keygen(1)): one of them must have signed what is published")
		flags.BoolVar(&s.trust.Unsigned, "unsigned", false, "take from http:// what nobody has signed")
		flags.BoolVar(&s.asJSON, "json", false, "print JSON")
		limit := flags.String("max-size", maxContent, "limit the content of a version to `SIZE`")
		timer := flags.Bool("install-timer", false, "have systemd do this every hour, and nothing else that was installed so before")
		return inStore(flags, 1, append([]string{"SOURCE"}, anyNumber("NAME", make([]string, 1000))...), func(ctx context.Context, store *image.Store, args []string) (err error) {
			if flags.Changed("signers") && s.trust.Signers == "" {
				return errors.New("--signers: the FILE is empty")
			}
			if s.Limits, err = contentLimits(*limit); err != nil {
				return err
			}
			source, err := mirror.Parse(args[0], s.trust, store)
			if err != nil {
				return err
			}
			if *timer {
				return installSyncTimer(store, flags, args)
			}
			s.Names = args[1:]
			return s.run(ctx, store, source, args[0])
		})
	},
}

// A syncing brings images from a source.
type syncing struct {
	mirror.Options
	trust  mirror.Trust
	asJSON bool
}

func (s *syncing) run(ctx context.Context, store *image.Store, source mirror.Source, name string) error {
	p := begin("sync", "look at "+name, 0)
	defer p.stop()
	s.Progress = p.add
	s.Fetching = func(name string, version int) { p.next(fmt.Sprintf("bring %s@%d", name, version), 0) }
	list := []mirror.Result{}
	s.Done = func(r mirror.Result) {
		list = append(list, r)
		if !s.asJSON {
			p.hold(true)
			printSynced(r)
			p.hold(false)
		}
	}
	err := mirror.Sync(ctx, store, source, s.Options)
	if s.asJSON {
		err = errors.Join(err, printJSON(list))
	}
	return err
}

func printSynced(r mirror.Result) {
	var what []string
	for _, n := range r.Brought {
		what = append(what, fmt.Sprintf("brought @%d", n))
	}
	for _, n := range r.Removed {
		what = append(what, fmt.Sprintf("removed @%d", n))
	}
	for _, n := range r.InUse {
		what = append(what, fmt.Sprintf("@%d is in use and stays", n))
	}
	if r.Was != 0 {
		what = append(what, fmt.Sprintf("current was @%d", r.Was))
	}
	if len(what) == 0 {
		what = []string{"up to date"}
	}
	fmt.Fprintf(stdout, "image %s@%d: %s\n", r.Name, r.Current, strings.Join(what, ", "))
}

// installSyncTimer has systemd run this command, without --install-timer.
func installSyncTimer(s *image.Store, flags *flag.FlagSet, args []string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	command := []string{path, "image", "sync", "--store", s.Path}
	var paths []error
	absolute := func(name string) string { // systemd begins in another directory
		name, err := filepath.Abs(name)
		paths = append(paths, err)
		return name
	}
	flags.Visit(func(f *flag.Flag) {
		switch value := f.Value.String(); f.Name {
		case "install-timer", "store":
		case "signers":
			command = append(command, "--signers="+absolute(value))
		default:
			command = append(command, "--"+f.Name+"="+value)
		}
	})
	if !strings.Contains(args[0], "://") {
		args = append([]string{absolute(args[0])}, args[1:]...)
	}
	if err := errors.Join(paths...); err != nil {
		return err
	}
	return grant.InstallSyncTimer(append(append(command, "--"), args...))
}

var imagePublish = command{
	name:     "publish",
	synopsis: "[flags] DIR [NAME...]",
	summary:  "fill DIR, for a web server or a network file system, with images for `runtime image sync`",
	examples: []string{"runtime image publish /srv/www/mayfly", "runtime image publish --sign /root/.ssh/id_ed25519 /srv/www/mayfly deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		var to mirror.Publication
		flags.StringVar(&to.Compression, "compress", "zstd", "`HOW`: gzip, xz, zstd, bzip2 or none")
		flags.StringVar(&to.Sign, "sign", "", "sign with the ssh `KEY`: a file, of a public key if ssh-agent has the private one")
		asJSON := jsonFlag(flags)
		return inStore(flags, 1, append([]string{"DIR"}, anyNumber("NAME", make([]string, 1000))...), func(ctx context.Context, s *image.Store, args []string) error {
			if flags.Changed("sign") && to.Sign == "" {
				return errors.New("--sign: the KEY is empty")
			}
			to.Directory, to.Names = args[0], args[1:]
			p := begin("publish", "look at the images", 0)
			defer p.stop()
			to.Progress = p.add
			to.Writing = func(name string, version int) { p.next(fmt.Sprintf("write %s@%d", name, version), 0) }
			index, err := mirror.Publish(ctx, s, to)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(index)
			}
			p.hold(true)
			for _, img := range index.Images {
				fmt.Fprintf(stdout, "image %s@%d: %s\n", img.Name, img.Current, count(len(img.Versions), "version"))
			}
			return nil
		})
	},
}
