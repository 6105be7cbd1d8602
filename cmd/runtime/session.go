package main

import (
	"context"
	"errors"
	"fmt"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/session"
)

func sessionCommands() []command {
	return []command{sessionBegin, sessionForBuildDeps, sessionList, sessionEnd}
}

var sessionBegin = command{
	name:     "begin",
	granted:  true,
	rootless: asCaller,
	synopsis: "[--name NAME] IMAGE",
	summary:  "create a writable snapshot of an image that stays until it is ended, and print its name",
	examples: []string{"runtime session begin --name work deb12-i386", "runtime run --session work -- make"},
	setUp: func(flags *flag.FlagSet) action {
		name := flags.String("name", "", "`NAME` of the session (default: IMAGE-<8 hex digits>)")
		asJSON := jsonFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "image")
			if err != nil {
				return exit(err)
			}
			session, err := session.Begin(context.Background(), self.Here, args[0], *name, warn)
			if err != nil {
				return exit(err)
			}
			return exit(printResult(*asJSON, map[string]string{"name": session}, "%s", session))
		}
	},
}

var sessionList = command{
	name:     "list",
	aliases:  []string{"ls"},
	granted:  true,
	rootless: asCaller,
	synopsis: "[flags]",
	bare:     true,
	summary:  "list sessions",
	examples: []string{"runtime session list", "runtime session list --all-users --json"},
	setUp: func(flags *flag.FlagSet) action {
		everybody := flags.Bool("all-users", false, "list the sessions of all users (root only)")
		form := listingFlags(flags)
		return func(self process, _ []string) (int, error) {
			list, err := session.List(self.Here, *everybody)
			if err != nil {
				return exit(err)
			}
			name := func(s session.Session) string { return s.Name }
			return exit(form.print(list, namesOf(list, name), func() error { return printSessions(list) }))
		}
	},
}

func printSessions(list []session.Session) error {
	return table("NAME\tIMAGE\tUSER\tBEGAN\tLAST USED\tIN USE", func(row func(...any)) {
		for _, s := range list {
			row(s.Name, s.Image, s.User, when(s.Began), when(s.Used), s.InUse)
		}
	})
}

var sessionEnd = command{
	name:     "end",
	aliases:  []string{"rm"},
	granted:  true,
	rootless: asCaller,
	synopsis: "NAME...",
	summary:  "remove sessions with their files",
	examples: []string{"runtime session end work"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, anyNumber("session", args)...)
			if err != nil {
				return exit(err)
			}
			removed, errs := []string{}, []error{}
			for _, name := range args {
				err := session.End(self.Here, name, warn)
				if err == nil {
					removed = append(removed, name)
					if !*asJSON {
						fmt.Fprintf(stdout, "session %s is removed\n", printableLine(name))
					}
				}
				errs = append(errs, err)
			}
			if *asJSON {
				errs = append(errs, printJSON(map[string][]string{"removed": removed}))
			}
			return exit(errors.Join(errs...))
		}
	},
}
