package main

import (
	"errors"
	"flag"

	"mayfly/runtime/status"
)

// nspawnRun is the wrapper that Mayfly replaces, by its name and with its words:
// build scripts that call it need no change.
var nspawnRun = command{
	name:     "nspawn-run",
	granted:  true,
	passes:   true,
	own:      asCaller,
	synopsis: "-n IMAGE [COMMAND [ARG...]]",
	summary:  "run a command, or a shell, in a throw-away container of an image",
	examples: []string{"nspawn-run -n deb12-i386 ./build.sh", "nspawn-run -n deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		o := &options{verbose: true}
		flags.StringVar(&o.image, "n", "", "`IMAGE` to run")
		return func(self process, args []string) (int, error) {
			if o.image == "" {
				return status.ExitFailure, errors.New("no image given: nspawn-run -n IMAGE [COMMAND [ARG...]]")
			}
			o.command = args
			return o.launch(self.Here)
		}
	},
}
