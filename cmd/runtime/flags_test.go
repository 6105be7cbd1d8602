package main

import (
	"errors"
	"testing"
	"time"
)

func TestARefusedFlagSaysWhatItWants(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--time", "1"}, `--time "1": want a time such as 90s, 30m or 2h`},
		{[]string{"--number=x"}, `--number "x": want a whole number`},
		{[]string{"--share", "x"}, `--share "x": want a number such as 1.5`},
		{[]string{"--yes=perhaps"}, `--yes "perhaps": takes no value, or true or false`},
		{[]string{"--own", "x"}, `--own "x": no`},
		{[]string{"--nosuch"}, "unknown flag --nosuch"},
		{[]string{"--x=1"}, "unknown flag -x: it is always so: leave it out"},
		{[]string{"--tim", "1"}, "unknown flag --tim; did you mean --time?"},
		{[]string{"--mount", "x"}, "unknown flag --mount: --bind SRC:DST, --bind-ro SRC:DST or --tmpfs DST"},
		{[]string{"-ytn", "name"}, "unknown flag -t"},
		{[]string{"-time", "1s"}, "-time: want two dashes: --time"},
		{[]string{"-n", "-time", "-y"}, ""},
		{[]string{"-y", "--n", "-time", "-time=x"}, "-time=x: want two dashes: --time"},
		{[]string{"-yn", "-time"}, ""},
		{[]string{"-yn-time", "-test.v"}, "unknown flag -test.v"},
		{[]string{"--rm=false"}, `--rm "false": it is always so`},
		{[]string{"--rm", "-yyn=x", "image", "-time"}, ""},
		{[]string{"--alias", "x"}, `--alias "x": want a whole number`},
		{[]string{"-n"}, "flag needs an argument: -n"},
		{[]string{"---x"}, "bad flag syntax: ---x"},
		{[]string{"-="}, "bad flag syntax: -="},
		{[]string{"-=x", "y"}, "bad flag syntax: -=x"},
		{[]string{"--yes="}, `--yes "": takes no value, or true or false`},
		{[]string{"-n", ""}, `-n "": want NAME; leave the flag out for the default`},
		{[]string{"--own="}, `--own "": want THING; leave the flag out for the default`},
		{[]string{"--time="}, `--time "": want duration; leave the flag out for the default`},
		{[]string{"--time", "0"}, `--time "0": want more than 0; leave the flag out for the default`},
		{[]string{"--time", "-1s"}, `--time "-1s": want more than 0; leave the flag out for the default`},
		{[]string{"--number", "0"}, `--number "0": want more than 0; leave the flag out for the default`},
		{[]string{"--number", "-1"}, `--number "-1": want more than 0; leave the flag out for the default`},
		{[]string{"--share", "0"}, `--share "0": want more than 0; leave the flag out for the default`},
		{[]string{"--share", "nan"}, `--share "nan": want more than 0; leave the flag out for the default`},
		{[]string{"--kill-after", "-1s"}, `--kill-after "-1s": want more than 0; leave the flag out for the default`},
		{[]string{"--kill-after", "0"}, ""},
		{[]string{"--yes", "-n", "name", "--number", "1", "--time", "1s", "--share", "1", "image", "--nosuch"}, ""},
	} {
		flags := newFlags("command")
		flags.Duration("time", time.Second, "")
		flags.Int("number", 0, "")
		flags.Float64("share", 0, "")
		flags.BoolP("yes", "y", false, "")
		acceptAlways(flags, "rm", "")
		anotherName(flags, "alias", "number")
		flags.Duration("kill-after", time.Second, "")
		flags.StringP("n", "n", "", "the `NAME`")
		flags.Func("own", "a `THING`", func(string) error { return errors.New("no") })
		if c.want != "" {
			c.want += ": `command --help` lists the flags"
		}
		for range 2 { // flags that stand between arguments are parsed once more
			got := ""
			if err := parse(flags, c.args); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%q: %q, want %q", c.args, got, c.want)
			}
		}
	}
}
