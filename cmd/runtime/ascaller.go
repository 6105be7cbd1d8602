package main

import (
	"flag"

	"mayfly/runtime/access"
	"mayfly/runtime/status"
)

// asCallerCommand is what a line in sudoers allows: its first argument cannot be left out
// by whoever calls sudo.
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
