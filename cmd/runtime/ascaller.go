package main

import (
	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/status"
)

// asCallerCommand is the one command that the line in sudoers allows, so the caller of
// sudo cannot leave out "as-caller".
func asCallerCommand() command {
	return command{
		name:     "as-caller",
		passes:   true, // as COMMAND does
		synopsis: "COMMAND ...",
		summary:  "for sudo: become the user who called it, then run COMMAND",
		examples: []string{"sudo runtime as-caller run deb12-i386 -- make"},
		setUp: func(*flag.FlagSet) action {
			return func(self process, args []string) (int, error) {
				if err := access.BecomeSudoCaller(self.Here); err != nil {
					return status.ExitFailure, err
				}
				return call(self, "runtime", commands(), args), nil
			}
		},
	}
}
