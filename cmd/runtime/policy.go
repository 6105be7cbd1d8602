package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/imageadmin"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/survey"
)

func policyCommands() []command {
	return []command{policyCheck, policyExplain, policyDefault, policyImport}
}

var policyCheck = command{
	name:     "check",
	synopsis: "[FILE]",
	summary:  "check the policy, or a file that is to become policy, for mistakes",
	examples: []string{"runtime policy check", "runtime policy check new.toml"},
	setUp: func(flags *flag.FlagSet) action {
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 0, "file")
			if err != nil {
				return exit(err)
			}
			name := "" // the policy itself
			if len(args) > 0 {
				name = args[0]
			}
			rules, err := policy.Check(name)
			if err != nil {
				return exit(err)
			}
			noun := "rules"
			if rules == 1 {
				noun = "rule"
			}
			fmt.Fprintf(stdout, "%d %s, no mistakes\n", rules, noun)
			return 0, nil
		}
	},
}

var policyExplain = command{
	name:     "explain",
	granted:  true, // to read which of the image's directories the binds hide
	synopsis: "[flags] IMAGE",
	summary:  "show what a user may do with an image, and which line says so",
	examples: []string{"runtime policy explain deb12-i386", "runtime policy explain --user ci deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		who := flags.String("user", "", "`USER`, by name or number (default: the caller)")
		asJSON := flags.Bool("json", false, "print JSON")
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "image")
			if err != nil {
				return exit(err)
			}
			decision, user, err := survey.Explain(self.Here, args[0], *who)
			if err != nil {
				return exit(err)
			}
			hidden := imageadmin.HiddenBy(self.Here, decision, args[0])
			if err := privilege.Renounce(); err != nil {
				return exit(err)
			}
			if *asJSON {
				return exit(printJSON(decision.Rule.Explain()))
			}
			fmt.Fprintf(stdout, "user %s (%d), image %s: allowed by the rule at %s\n\n", printableLine(user.Name), user.UID, args[0], decision.Place())
			if decision.Unbound {
				fmt.Fprintln(stdout, "Root may ask for anything; the rule says what comes unasked.")
			}
			if err := printSettings(decision.Rule.Explain()); err != nil {
				return exit(err)
			}
			return exit(printHidden(hidden))
		}
	},
}

// printHidden says which of the image's directories the binds hide.
func printHidden(dirs []string) error {
	if len(dirs) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(stdout, "\nThe binds hide what the image has in %s; --no-bind DIR leaves one out.\n", printableLine(strings.Join(dirs, ", ")))
	return err
}

func printSettings(lines []rule.Setting) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Name, printableLine(l.Value), l.Place)
	}
	return w.Flush()
}

var policyDefault = command{
	name:     "default",
	bare:     true,
	summary:  "print the default policy, with a comment on each setting",
	examples: []string{"runtime policy default >policy.toml"},
	setUp: func(*flag.FlagSet) action {
		return func(self process, _ []string) (int, error) {
			_, err := stdout.Write([]byte(policy.DefaultText))
			return exit(err)
		}
	},
}
