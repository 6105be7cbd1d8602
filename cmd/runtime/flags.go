package main

import (
	"errors"
	"flag"
	"fmt"
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
		f.Value = explainedValue{value, f.Name, &refused}
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
	name    string
	refused *error
}

// Set implements flag.Value.
func (v explainedValue) Set(text string) error {
	err := v.Value.Set(text)
	if err != nil {
		*v.refused = fmt.Errorf("%s %q: %w", dashed(v.name), text, v.explain(err))
	}
	return err
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
