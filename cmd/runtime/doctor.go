package main

import (
	"fmt"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/doctor"
	"mayfly/runtime/status"
)

var doctorCommand = command{
	name:     "doctor",
	granted:  true,
	synopsis: "[--json]",
	bare:     true,
	summary:  "check this machine: what containers need, what is wrong, what to do",
	examples: []string{"runtime doctor"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return func(self process, _ []string) (int, error) {
			list, code := doctor.Examine(self.Here), 0
			for _, f := range list {
				if !f.OK && f.Needed {
					code = status.ExitFailure
				}
			}
			if *asJSON {
				return code, printJSON(list)
			}
			for _, f := range list {
				fmt.Fprintf(stdout, "%-8s%-18s%s\n", mark(f), f.What, printableLine(f.Found))
				if f.Advice != "" {
					fmt.Fprintf(stdout, "%-26s%s\n", "", f.Advice)
				}
			}
			return code, nil
		}
	},
}

func mark(f doctor.Finding) string {
	switch {
	case f.OK:
		return "ok"
	case f.Needed:
		return "WRONG"
	}
	return "missing"
}
