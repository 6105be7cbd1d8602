package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/doctor"
	"mayfly/runtime/here"
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
			list, code := append(doctor.Examine(self.Here), examineSurplus(self.Here), examineNames()), 0
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

// examineSurplus finds capabilities of the grant that no launch needs.
func examineSurplus(h here.Here) doctor.Finding {
	f := doctor.Finding{What: "surplus", OK: true, Found: "the grant has nothing that no launch needs"}
	if extra, path := surplus(h); extra != 0 {
		f.OK, f.Found = false, fmt.Sprintf("%s has %s, which no launch needs here", path, strings.Join(names(extra), ","))
		f.Advice = "as root `runtime grant` as before, with --group if it was for a group"
	}
	return f
}

// examineNames finds other programs that are executed in the place of this one.
func examineNames() doctor.Finding {
	f := doctor.Finding{What: "names", OK: true, Found: "runtime and nspawn-run are this program, or not in PATH"}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		f.OK, f.Found, f.Advice = false, err.Error(), "mount /proc"
		return f
	}
	var others []string
	for _, name := range []string{"runtime", nspawnRun.name} {
		first, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if found, err := os.Stat(first); err == nil && !os.SameFile(found, own) {
			others = append(others, first)
		}
	}
	if others != nil {
		f.OK, f.Found = false, strings.Join(others, " and ")+" come first in PATH, and are another program or another copy"
		f.Advice = "remove or rename them, or put the directory of this program before them in PATH"
	}
	return f
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
