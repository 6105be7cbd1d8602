package main

import (
	"flag"
	"fmt"
)

// A listing is how a list is to be printed: its flags are those of each command that prints one.
type listing struct{ asJSON, names *bool }

func listingFlags(flags *flag.FlagSet) listing {
	return listing{jsonFlag(flags), flags.Bool("names", false, "print names only")}
}

// print prints a list in the way that was asked for, else by show.
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

// namesOf yields the names in a list.
func namesOf[T any](list []T, name func(T) string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, one := range list {
			if !yield(name(one)) {
				return
			}
		}
	}
}
