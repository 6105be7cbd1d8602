package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// parse is flags.Parse with better errors. Package flag spells a long name with one
// dash, and says "parse error" for each value that it cannot read.
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

// dashed returns a flag's name with its dashes.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// An explainedValue is a flag's value whose error says what the flag wants.
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

// set refuses values that would mean the same as no flag: an empty text, as from a
// shell's unset variable, and a limit of 0.
func (v explainedValue) set(text string) error {
	if text == "" && !v.IsBoolFlag() {
		return fmt.Errorf("want %s; leave the flag out for the default", v.wants())
	}
	if err := v.Value.Set(text); err != nil {
		return v.explain(err)
	}
	if v.limitsNothing() {
		return errors.New("want more than 0; leave the flag out for the default")
	}
	return nil
}

// wants returns the name that the help gives to the flag's value.
func (v explainedValue) wants() string {
	value, _ := flag.UnquoteUsage(&flag.Flag{Usage: v.flag.Usage, Value: v.Value})
	return value
}

// zeroes are the numeric flags that accept 0: no time between SIGTERM and SIGKILL
// (--kill-after); no version to keep, which Prune refuses itself (--keep); no
// descriptor to pass, which a script that computes the number may say (--preserve-fds).
var zeroes = []string{"kill-after", "keep", "preserve-fds"}

// limitsNothing says whether the value is a number that is not a limit.
func (v explainedValue) limitsNothing() bool {
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
		return !(n > 0) // true for NaN
	}
	return false
}

// IsBoolFlag implements the optional interface of package flag: true if the flag needs
// no value.
func (v explainedValue) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func (v explainedValue) explain(err error) error {
	value, ok := v.Value.(flag.Getter)
	if !ok {
		return err // from a function that was given to flag.Func
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
