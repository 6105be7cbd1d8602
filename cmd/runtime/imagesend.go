package main

import (
	"context"
	"errors"
	"os"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
)

var imageSend = command{
	name:     "send",
	synopsis: "[--parent VERSION] NAME[@VERSION]",
	summary:  "write a version to standard output, for `runtime image receive` on another host",
	examples: []string{
		"runtime image send deb12-i386 | ssh host runtime image receive",
		"runtime image send --parent 3 deb12-i386@4 | ssh host runtime image receive",
	},
	setUp: func(flags *flag.FlagSet) action {
		parent := flags.Int("parent", 0, "send only the changes since version `N`, which the other host must have")
		return inStore(flags, 1, []string{"NAME"}, func(ctx context.Context, s *image.Store, args []string) error {
			if isTerminalOut() {
				return errors.New("standard output is a terminal: pipe it to `runtime image receive`")
			}
			return s.Send(ctx, args[0], *parent, os.Stdout)
		})
	},
}

var imageReceive = command{
	name:     "receive",
	synopsis: "[--name NAME]",
	summary:  "read what `runtime image send` wrote from standard input, and check its digest",
	examples: []string{"ssh host runtime image send deb12-i386 | runtime image receive"},
	setUp: func(flags *flag.FlagSet) action {
		name := flags.String("name", "", "`NAME` of the image here (default: its name there)")
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
			name, record, err := s.Receive(ctx, *name, os.Stdin, p.add)
			if err != nil {
				return s.Explain(err)
			}
			return printVersion(*asJSON, name, record)
		})
	},
}
