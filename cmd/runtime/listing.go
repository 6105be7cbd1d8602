package main

import (
	"fmt"

	flag "github.com/spf13/pflag"
)

// A listing has the flags of a command that prints a list.
type listing struct{ asJSON, names *bool }

func listingFlags(flags *flag.FlagSet) listing {
	return listing{jsonFlag(flags), flags.Bool("names", false, "print names only")}
}

// print prints a list as JSON (--json) or as names (--names), else with show.
func (l listing) print(list any, names func(yield func(string) bool), show func() error) error {
	switch {
	case *l.asJSON:
		return printJSON(list)
	case *l.names:
		for name := range names {
			fmt.Fprintln(stdout, printableLine(name))
		}
		return nil
	}
	return show()
}

// namesOf yields the name of each element of a list.
func namesOf[T any](list []T, name func(T) string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, one := range list {
			if !yield(name(one)) {
				return
			}
		}
	}
}
