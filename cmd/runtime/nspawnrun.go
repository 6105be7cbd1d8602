package main

import (
	"errors"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/status"
)

// nspawnRun replaces a wrapper script of that name. It takes the same arguments and
// prints the same messages, so build scripts that call it need no change.
var nspawnRun = command{
	name:     "nspawn-run",
	granted:  true,
	passes:   true,
	rootless: asCaller,
	synopsis: "-n IMAGE [COMMAND [ARG...]]",
	summary:  "run a command, or a shell, in a throw-away container of an image",
	examples: []string{"nspawn-run -n deb12-i386 ./build.sh", "nspawn-run -n deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		o := &options{verbose: true}
		flags.StringVarP(&o.image, "n", "n", "", "`IMAGE` to run")
		return func(self process, args []string) (int, error) {
			if o.image == "" {
				return status.ExitFailure, errors.New("no image given: nspawn-run -n IMAGE [COMMAND [ARG...]]")
			}
			o.command = args
			return o.launch(self.Here)
		}
	},
}
