package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// parse is flags.Parse with errors in the words of the help: package flag spells a long name with one dash, and says
// "parse error" of every value that it cannot read.
func parse(flags *flag.FlagSet, args []string) error {
	var refused error
	flags.VisitAll(func(f *flag.Flag) {
		value := f.Value
		if before, again := value.(explainedValue); again {
			value = before.Value
		}
		f.Value = explainedValue{value, f, &refused}
	})
	err := flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	if refused != nil {
		err = refused
	} else if what, name, ok := strings.Cut(err.Error(), ": -"); ok && strings.IndexAny(name, "-=") != 0 {
		err = fmt.Errorf("%s: %s", what, dashed(name))
	}
	return fmt.Errorf("%w: `%s --help` lists the flags", err, flags.Name())
}

// dashed is how a flag is written.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// An explainedValue is a flag's value that says what it wants when it refuses a text.
type explainedValue struct {
	flag.Value
	flag    *flag.Flag
	refused *error
}

// Set implements flag.Value.
func (v explainedValue) Set(text string) error {
	err := v.set(text)
	if err != nil {
		*v.refused = fmt.Errorf("%s %q: %w", dashed(v.flag.Name), text, err)
	}
	return err
}

// set refuses what would be the same as no flag at all: a text without anything in it,
// as a shell's unset variable gives it, and a bound that bounds nothing.
func (v explainedValue) set(text string) error {
	if text == "" && !v.IsBoolFlag() {
		return fmt.Errorf("want %s; leave the flag out for the default", v.wants())
	}
	if err := v.Value.Set(text); err != nil {
		return v.explain(err)
	}
	if v.boundsNothing() {
		return errors.New("want more than 0; leave the flag out for the default")
	}
	return nil
}

// wants is the flag's value as the help calls it.
func (v explainedValue) wants() string {
	value, _ := flag.UnquoteUsage(&flag.Flag{Usage: v.flag.Usage, Value: v.Value})
	return value
}

// zeroes are the flags of numbers whose 0 bounds nothing by mistake: no time between
// SIGTERM and SIGKILL, no version to be kept, which has an error of its own, and no
// descriptor to be passed, which scripts say as they say how many.
var zeroes = []string{"kill-after", "keep", "preserve-fds"}

func (v explainedValue) boundsNothing() bool {
	value, ok := v.Value.(flag.Getter)
	if !ok {
		return false
	}
	zero := slices.Contains(zeroes, v.flag.Name)
	switch n := value.Get().(type) {
	case time.Duration:
		return n < 0 || n == 0 && !zero
	case int:
		return n < 0 || n == 0 && !zero
	case float64:
		return !(n > 0) // nor is NaN
	}
	return false
}

// IsBoolFlag tells package flag whether the name alone is enough.
func (v explainedValue) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func (v explainedValue) explain(err error) error {
	value, ok := v.Value.(flag.Getter)
	if !ok {
		return err // of a function of ours
	}
	switch value.Get().(type) {
	case time.Duration:
		return errors.New("want a time such as 90s, 30m or 2h")
	case int:
		return errors.New("want a whole number")
	case float64:
		return errors.New("want a number such as 1.5")
	case bool:
		return errors.New("takes no value, or true or false")
	}
	return err
}
