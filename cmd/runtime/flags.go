package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/nearest"
)

// newFlags returns an empty set of flags. Nothing but parse reports its errors.
func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// parse parses flags up to the first argument that is none, with better errors than
// flags.Parse, which names the flag of a value but not what it wants.
func parse(flags *flag.FlagSet, args []string) error {
	var refused error
	flags.VisitAll(func(f *flag.Flag) {
		value := f.Value
		if before, again := value.(explainedValue); again {
			value = before.Value
		}
		f.Value = explainedValue{value, f, &refused}
	})
	flags.SetInterspersed(false)
	err := oneDash(flags, args)
	if err == nil {
		err = flags.Parse(args)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	if refused != nil {
		err = refused
	} else {
		err = explainSyntax(flags, err)
	}
	return fmt.Errorf("%w: `%s --help` lists the flags", err, flags.Name())
}

// oneDash refuses a long flag that is written with one dash: it would be read as some
// short flags.
func oneDash(flags *flag.FlagSet, args []string) error {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--" || len(word) < 2 || word[0] != '-':
			return nil
		case word[1] == '-':
			f := flags.Lookup(word[2:])
			if f != nil && f.NoOptDefVal == "" && len(args) > 0 {
				args = args[1:] // the flag's value
			}
			continue
		}
		name, _, _ := strings.Cut(word[1:], "=")
		if name == "" {
			return fmt.Errorf("bad flag syntax: %s", word)
		}
		if len(name) > 1 && flags.Lookup(name) != nil {
			return fmt.Errorf("%s: want two dashes: --%s", word, name)
		}
		// Package pflag ignores what go test understands.
		if strings.HasPrefix(name, "test.") {
			return fmt.Errorf("unknown flag %s", word)
		}
		if last := flags.ShorthandLookup(name[len(name)-1:]); len(name) == len(word)-1 && last != nil && last.NoOptDefVal == "" && takesNext(flags, name) && len(args) > 0 {
			args = args[1:]
		}
	}
	return nil
}

// takesNext tells whether the last of some short flags is the first that has a value:
// the next argument is it.
func takesNext(flags *flag.FlagSet, short string) bool {
	for i := range len(short) - 1 {
		if f := flags.ShorthandLookup(short[i : i+1]); f == nil || f.NoOptDefVal == "" {
			return false
		}
	}
	return true
}

// explainSyntax says what is wrong with a flag, and what may have been meant.
func explainSyntax(flags *flag.FlagSet, err error) error {
	var unknown *flag.NotExistError
	var alone *flag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		name := dashed(unknown.GetSpecifiedName())
		if hint := flagElsewhere(name); hint != "" {
			return fmt.Errorf("unknown flag %s: %s", name, hint)
		}
		return fmt.Errorf("unknown flag %s%s", name, nearest.Advice(unknown.GetSpecifiedName(), flagNames(flags), dashed))
	case errors.As(err, &alone):
		return fmt.Errorf("flag needs an argument: %s", dashed(alone.GetSpecifiedName()))
	}
	return err
}

// flagNames lists the flags by their long names.
func flagNames(flags *flag.FlagSet) (names []string) {
	flags.VisitAll(func(f *flag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// dashed returns a flag's name with its dashes.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// flagElsewhere says what there is here for a flag of podman, docker, systemd-nspawn or
// schroot, "" if it is of none of them.
func flagElsewhere(name string) string {
	switch name {
	case "--mount":
		return "--bind SRC:DST, --bind-ro SRC:DST or --tmpfs DST"
	case "--net", "--private-network":
		return "--network host, none or private"
	case "-P", "--publish-all", "--expose", "--port":
		return "--publish HOST:CONTAINER"
	case "--entrypoint":
		return "the command follows the image"
	case "--privileged", "--cap-add", "--capability", "--security-opt":
		return "nothing in a container has capabilities on the host; --root is root inside"
	case "--cap-drop", "--read-only", "--ephemeral", "-x", "--init", "--as-pid2":
		return "it is always so: leave it out"
	case "--pids-limit":
		return "--tasks N"
	case "--device":
		return "the policy's devices"
	case "--setenv", "-E":
		return "--env NAME=VALUE"
	case "--machine", "-M":
		return "--name NAME"
	case "--directory", "-D", "--image", "--chroot", "-c":
		return "the image follows the flags"
	case "--working-dir":
		return "--chdir DIR"
	case "--preserve-environment":
		return "--env-all"
	case "--userns", "--private-users", "-U":
		return "--root"
	case "--restart", "--pull":
		return "there is no such thing here: leave it out"
	}
	return ""
}

// always is the value of a flag of podman's and docker's that says what is always so.
type always struct{}

func (always) String() string { return "true" }
func (always) Type() string   { return "bool" }

// Set implements flag.Value.
func (always) Set(text string) error {
	if on, err := strconv.ParseBool(text); err != nil || !on {
		return errors.New("it is always so")
	}
	return nil
}

// acceptAlways declares flags that scripts for podman and docker have, and that change
// nothing.
func acceptAlways(flags *flag.FlagSet, name, short string) {
	f := flags.VarPF(always{}, name, short, "accepted: it is always so")
	f.NoOptDefVal, f.Hidden = "true", true
}

// anotherName declares a second name of a flag, which --help does not list.
func anotherName(flags *flag.FlagSet, name, of string) {
	f := flags.Lookup(of)
	flags.AddFlag(&flag.Flag{Name: name, Value: f.Value, DefValue: f.DefValue, Usage: f.Usage, NoOptDefVal: f.NoOptDefVal, Hidden: true})
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
	if text == "" && v.needsValue() {
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
	zero := slices.Contains(zeroes, v.flag.Name)
	switch v.Type() {
	case "duration":
		d, err := time.ParseDuration(v.String())
		return err == nil && (d < 0 || d == 0 && !zero)
	case "int":
		n, err := strconv.Atoi(v.String())
		return err == nil && (n < 0 || n == 0 && !zero)
	case "float64":
		n, err := strconv.ParseFloat(v.String(), 64)
		return err == nil && !(n > 0) // true for NaN
	}
	return false
}

// needsValue tells whether the flag cannot stand alone.
func (v explainedValue) needsValue() bool { return v.flag.NoOptDefVal == "" }

func (v explainedValue) explain(err error) error {
	switch v.Type() {
	case "duration":
		return errors.New("want a time such as 90s, 30m or 2h")
	case "int":
		return errors.New("want a whole number")
	case "float64":
		return errors.New("want a number such as 1.5")
	case "bool":
		if v.Value != (always{}) {
			return errors.New("takes no value, or true or false")
		}
	}
	return err // of a function's own
}
