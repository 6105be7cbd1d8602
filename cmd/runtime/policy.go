package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	flag "github.com/spf13/pflag"

	"mayfly/nsexec"
	"mayfly/runtime/caller"
	"mayfly/runtime/grant"
	"mayfly/runtime/imageadmin"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/review"
	"mayfly/runtime/status"
	"mayfly/runtime/survey"
)

func policyCommands() []command {
	return []command{policyCheck, policyExplain, policyNew, policyDefault, policyImport}
}

var policyCheck = command{
	name:     "check",
	granted:  true, // to list the store's images
	synopsis: "[flags] [FILE]",
	summary:  "check the policy, or a file that is to become policy, for mistakes",
	examples: []string{"runtime policy check", "runtime policy check --strict new.toml"},
	setUp: func(flags *flag.FlagSet) action {
		strict := flags.Bool("strict", false, "fail with a warning, too")
		asJSON := jsonFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 0, "file")
			if err != nil {
				return exit(err)
			}
			name := "" // the policy itself
			if len(args) > 0 {
				name = args[0]
			}
			granted, err := grantedHere()
			if err != nil {
				return exit(err)
			}
			report, err := review.Policy(self.Here, name, granted)
			if err != nil {
				return exit(err)
			}
			if *asJSON {
				err = printJSON(report)
			} else {
				printReview(report)
			}
			if bad := report.Count(review.Mistake); err == nil && (bad > 0 || *strict && report.Count(review.Warning) > 0) {
				return status.ExitFailure, nil
			}
			return exit(err)
		}
	},
}

// grantedHere returns the capabilities that a launch by a user has.
func grantedHere() (uint64, error) {
	if os.Getuid() != 0 {
		has, err := nsexec.CurrentCapabilities()
		return has.Permitted, err
	}
	path, err := os.Executable()
	if err != nil {
		return 0, err
	}
	state, err := grant.Look(path)
	if state.Kind == grant.SetUID {
		return privilege.GrantCapabilities, err
	}
	return state.Permitted, err
}

func printReview(r review.Report) {
	for _, f := range r.Findings {
		if f.Kind == review.Mistake {
			warn(strings.TrimPrefix(f.Place+": "+f.Text, ": "))
		} else {
			fmt.Fprintln(stdout, printableLine(f.String()))
		}
	}
	if r.Count(review.Mistake) > 0 {
		return
	}
	warnings := ""
	if n := r.Count(review.Warning); n > 0 {
		warnings = ", " + count(n, "warning")
	}
	fmt.Fprintf(stdout, "%s, no mistakes%s\n", count(r.Rules, "rule"), warnings)
}

// count writes a number of things.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}

var policyNew = command{
	name:     "new",
	synopsis: "[flags] NAME",
	summary:  "write a file of rules for a team's images: policy.d/NAME.toml (root only)",
	examples: []string{"runtime policy new --groups devs --images 'deb12-*' team", "runtime policy new --print --users ci --images ci-base ci"},
	setUp: func(flags *flag.FlagSet) action {
		var team review.Team
		flags.StringSliceVar(&team.Images, "images", nil, "`GLOBS` of images, separated by commas")
		flags.StringSliceVar(&team.Users, "users", nil, "`USERS` who may run them, separated by commas")
		flags.StringSliceVar(&team.Groups, "groups", nil, "`GROUPS` who may run them, separated by commas")
		flags.BoolVar(&team.Shared, "shared", false, "let later rules say what everybody else may do with the images (default: nothing)")
		asJSON := jsonFlag(flags)
		onlyPrint := flags.Bool("print", false, "print the file, and write nothing")
		return func(_ process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "name")
			if err != nil {
				return exit(err)
			}
			switch {
			case len(team.Images) == 0:
				return exit(errors.New("no --images given: for which images are the rules?"))
			case len(team.Users)+len(team.Groups) == 0:
				return exit(errors.New("no --users and no --groups given: for whom are the rules?"))
			}
			text, err := team.Text()
			if err != nil {
				return exit(err)
			}
			if *onlyPrint {
				fmt.Fprint(stdout, text)
				return 0, nil
			}
			if os.Getuid() != 0 {
				return exit(fmt.Errorf("%w; --print prints the file", caller.ErrNotPermitted))
			}
			path, err := policy.Add(args[0], text)
			if err != nil {
				return exit(err)
			}
			return exit(printResult(*asJSON, map[string]string{"path": path}, "%s is written; `runtime policy check` tells what others may do", path))
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
			e := explanation{Image: args[0], Hidden: []string{}}
			decision, user, err := survey.Explain(self.Here, args[0], *who)
			if err != nil && !errors.Is(err, rule.ErrDenied) {
				return exit(err)
			}
			var hidden []string
			var unknown error
			if err == nil { // who may not run an image must not hold it either
				hidden, unknown = imageadmin.HiddenBy(self.Here, decision, args[0])
			}
			if renounced := privilege.Renounce(); renounced != nil {
				return exit(renounced)
			}
			e.User, e.UID, e.Exists, e.Decision = user.Name, user.UID, unknown == nil, "allowed"
			e.Hidden = append(e.Hidden, hidden...)
			if err != nil {
				e.Decision, e.Reason = "denied", err.Error()
			} else {
				e.Rule, e.Settings, e.root = decision.Place().String(), decision.Rule.Explain(), decision.Unbound
			}
			switch {
			case *asJSON:
				if failed := printJSON(e); failed != nil || err == nil {
					return exit(failed)
				}
				return status.ExitFailure, nil
			case err != nil:
				return exit(errors.Join(err, unknown))
			}
			return exit(e.print(unknown))
		}
	},
}

// An explanation is what `policy explain` tells.
type explanation struct {
	Image    string         `json:"image"`
	Exists   bool           `json:"exists"` // in the store; true where the caller may not see
	User     string         `json:"user"`
	UID      uint32         `json:"uid"`
	Decision string         `json:"decision"` // allowed or denied
	Reason   string         `json:"reason,omitempty"`
	Rule     string         `json:"rule,omitempty"` // FILE:LINE
	Settings []rule.Setting `json:"settings,omitempty"`
	Hidden   []string       `json:"hidden"` // the image's directories that binds hide
	root     bool
}

func (e explanation) print(unknown error) error {
	fmt.Fprintf(stdout, "user %s (%d), image %s: allowed by the rule at %s\n\n", printableLine(e.User), e.UID, e.Image, e.Rule)
	if unknown != nil {
		fmt.Fprintf(stdout, "There is no such image yet: %s\n\n", printableLine(unknown.Error()))
	}
	if e.root {
		fmt.Fprintln(stdout, "Root may ask for anything; the rule says what comes unasked.")
	}
	if err := printSettings(e.Settings); err != nil {
		return err
	}
	return printHidden(e.Hidden)
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
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Name, printableLine(l.Text), l.Place)
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
