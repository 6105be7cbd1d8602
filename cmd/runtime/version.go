package main

import (
	"fmt"
	goruntime "runtime"

	"github.com/spf13/pflag"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "devel"

var versionCommand = command{
	name:    "version",
	summary: "print the version",
	setUp: func(*pflag.FlagSet) action {
		return func([]string) (int, error) {
			fmt.Println("mayfly " + version + " (" + goruntime.Version() + " " + goruntime.GOOS + "/" + goruntime.GOARCH + ")")
			return 0, nil
		}
	},
}
