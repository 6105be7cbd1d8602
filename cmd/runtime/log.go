package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/audit"
	"mayfly/runtime/status"
)

// journalctl reads the journal, with the caller's rights.
const journalctl = "/usr/bin/journalctl"

var logCommand = command{
	name:     "log",
	synopsis: "[flags]",
	bare:     true,
	summary:  "show who ran what, from the system's journal",
	examples: []string{"runtime log", "runtime log --since '1 hour ago'", "runtime log --json | jq .MAYFLY_IMAGE"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := flags.Bool("json", false, "print one JSON object per line")
		since := flags.String("since", "", "show events since `TIME`, as in journalctl(1)")
		return func(self process, _ []string) (int, error) {
			switch _, err := os.Stat(journalctl); audit.Where() {
			case audit.Syslog:
				return status.ExitFailure, errors.New("no systemd journal here: events go to syslog by /dev/log, which puts facility authpriv often into /var/log/auth.log")
			case audit.Nowhere:
				return status.ExitFailure, errors.New("no log here, so nothing is told of: neither systemd's journal (/run/systemd/journal/socket) nor syslog (/dev/log) is there")
			default:
				if err != nil {
					return status.ExitFailure, errors.New("no journalctl here: events are in systemd's journal, under the identifier " + audit.Identifier)
				}
			}
			// journald sets _UID itself. An event that a user forged has that user's
			// id.
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
				return status.ExitFailure, fmt.Errorf("journalctl: %w", err)
			}
			return 0, nil
		}
	},
}
