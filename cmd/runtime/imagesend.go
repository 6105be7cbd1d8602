package main

import (
	"context"
	"errors"
	"os"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/mirror"
)

var imageSend = command{
	name:     "send",
	synopsis: "[flags] NAME[@VERSION]",
	summary:  "write a version to standard output, for `runtime image receive` on another host",
	examples: []string{
		"runtime image send deb12-i386 | ssh host runtime image receive",
		"runtime image send --parent 3 deb12-i386@4 | ssh host runtime image receive",
		"runtime image send --archive deb12-i386 | zstd >deb12-i386.zst",
	},
	setUp: func(flags *flag.FlagSet) action {
		var how image.Sending
		flags.IntVar(&how.Parent, "parent", 0, "send only the changes since version `N`, which the other host must have")
		flags.BoolVar(&how.Archive, "archive", false, "send an archive, which a store of any kind can receive (what is not on BTRFS always does)")
		index := flags.Bool("index", false, "write what there is to send instead, of all images or of NAME, for `runtime image sync`")
		return inStore(flags, 0, []string{"NAME"}, func(ctx context.Context, s *image.Store, args []string) error {
			switch {
			case *index && (how.Archive || how.Parent != 0):
				return errors.New("--index sends no version: leave out --parent and --archive")
			case *index:
				return mirror.WriteIndex(stdout, s, args)
			case len(args) == 0:
				return errors.New("no NAME given: `runtime image send --help` tells more")
			}
			if isTerminalOut() {
				return errors.New("standard output is a terminal: pipe it to `runtime image receive`")
			}
			return s.Send(ctx, args[0], how, os.Stdout)
		})
	},
}

var imageReceive = command{
	name:     "receive",
	synopsis: "[flags]",
	summary:  "read a version with its number from `runtime image send`, on standard input, and check its digest",
	examples: []string{"ssh host runtime image send deb12-i386 | runtime image receive"},
	setUp: func(flags *flag.FlagSet) action {
		var how image.Receiving
		flags.StringVar(&how.Name, "name", "", "`NAME` of the image here (default: its name there)")
		flags.BoolVar(&how.Next, "next", false, "give the version the next number here, not the one that it has there")
		asJSON := jsonFlag(flags)
		store := storeFlag(flags)
		return asImageAdmin(func(ctx context.Context, self process, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			if isTerminal() {
				return errors.New("standard input is a terminal: want what `runtime image send` writes")
			}
			s, err := image.Open(self.Here, store.path(self.Here))
			if err != nil {
				return err
			}
			defer s.Close()
			p := begin("receive", "unpack", 0)
			defer p.stop()
			if how.Limits, err = contentLimits(maxContent); err != nil {
				return err
			}
			how.Progress = p.add
			name, record, err := s.Receive(ctx, os.Stdin, how)
			if err != nil {
				return s.Explain(err)
			}
			return printVersion(*asJSON, name, record)
		})
	},
}
