package main

import (
	"fmt"
	goruntime "runtime"

	flag "github.com/spf13/pflag"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "devel"

var versionCommand = command{
	name:     "version",
	traits:   lean,
	bare:     true,
	summary:  "print the version",
	examples: []string{"runtime version"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return func(self process, _ []string) (int, error) {
			if *asJSON {
				return exit(printJSON(map[string]string{"version": version, "go": goruntime.Version(), "os": goruntime.GOOS, "arch": goruntime.GOARCH}))
			}
			fmt.Fprintln(stdout, "mayfly "+version+" ("+goruntime.Version()+" "+goruntime.GOOS+"/"+goruntime.GOARCH+")")
			return 0, nil
		}
	},
}
