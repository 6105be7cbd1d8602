package main

import (
	"flag"
	"fmt"
	goruntime "runtime"

	"mayfly/runtime"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "devel"

var versionCommand = command{
	name:     "version",
	summary:  "print the version",
	examples: []string{"runtime version"},
	setUp: func(*flag.FlagSet) action {
		return func(args []string) (int, error) {
			if err := noArguments(args); err != nil {
				return runtime.ExitFailure, err
			}
			fmt.Println("mayfly " + version + " (" + goruntime.Version() + " " + goruntime.GOOS + "/" + goruntime.GOARCH + ")")
			return 0, nil
		}
	},
}
