package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"

	"mayfly/runtime"
	"mayfly/runtime/audit"
)

// journalctl reads the journal; with whose rights, is between it and the caller.
const journalctl = "/usr/bin/journalctl"

var logCommand = command{
	name:     "log",
	synopsis: "[flags]",
	bare:     true,
	summary:  "show who ran what, from the system's journal",
	examples: []string{"runtime log", "runtime log --since '1 hour ago'", "runtime log --json | jq .MAYFLY_IMAGE"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := flags.Bool("json", false, "print one JSON object a line")
		since := flags.String("since", "", "events from `TIME` on, as journalctl(1) takes it")
		return func([]string) (int, error) {
			if _, err := os.Stat(journalctl); err != nil {
				return runtime.ExitFailure, errors.New("no journalctl here: events are where syslog puts facility authpriv, often /var/log/auth.log")
			}
			// _UID is the journal's own word: an event of a user's making bears theirs.
			args := []string{"--quiet", "--no-pager", "SYSLOG_IDENTIFIER=" + audit.Identifier, "_UID=0"}
			if *asJSON {
				args = append(args, "--output=json")
			}
			if *since != "" {
				args = append(args, "--since="+*since)
			}
			cmd := exec.Command(journalctl, args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				return runtime.ExitFailure, fmt.Errorf("journalctl: %w", err)
			}
			return 0, nil
		}
	},
}
