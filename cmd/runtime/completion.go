package main

import (
	_ "embed" // for the scripts
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"mayfly/personality/arch"
	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"

	flag "github.com/spf13/pflag"
)

// The shells' scripts. They call `runtime completion words` with the command line so
// far.
var (
	//go:embed completion/bash
	bashCompletion string
	//go:embed completion/zsh
	zshCompletion string
	//go:embed completion/fish
	fishCompletion string
)

// completionCommand is a function, not a variable: it reads commands, which contains
// it.
func completionCommand() command {
	return command{
		name:     "completion",
		synopsis: "bash|zsh|fish",
		summary:  "print a shell script that completes commands, flags and names",
		examples: []string{
			"runtime completion bash > /usr/share/bash-completion/completions/runtime",
			"runtime completion zsh > /usr/share/zsh/vendor-completions/_runtime",
			"runtime completion fish > /etc/fish/completions/runtime.fish",
		},
		setUp: func(*flag.FlagSet) action {
			return func(self process, args []string) (int, error) {
				scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
				switch {
				case len(args) >= 3 && args[0] == "words":
					for _, c := range candidates(args[1], args[2], args[3:]) {
						fmt.Fprintln(stdout, c)
					}
					return 0, nil
				case len(args) != 1 || scripts[args[0]] == "":
					return exit(fmt.Errorf("want one of bash, zsh, fish"))
				}
				fmt.Fprint(stdout, scripts[args[0]])
				return 0, nil
			}
		},
	}
}

// candidates returns what a word of a command line can become: current is the word so
// far, before are those before it. Commands and flags are followed by a tab and what
// they are for. None means files, or that nothing is known.
func candidates(program, current string, before []string) []string {
	c, path := nspawnRun, []string{nspawnRun.name}
	if filepath.Base(program) != nspawnRun.name {
		var list []command
		if c, path, before, list = descend(before); list != nil {
			return commandsOf(list, current)
		}
	}
	flags, _, _ := c.declare(c.name)
	value, arguments := scan(flags, before)
	name, text, inOne := strings.Cut(current, "=")
	switch {
	case value != nil:
		return beginning(current, "", valuesOf(value.Name, current))
	case inOne && strings.HasPrefix(name, "--"):
		return beginning(current, name+"=", valuesOf(name[2:], text))
	case strings.HasPrefix(current, "-"):
		return flagsOf(flags, current)
	}
	return beginning(current, "", argumentsOf(path, len(arguments), current))
}

// descend finds the command of a line and what follows it; or, in an unfinished name,
// the list of what it can be.
func descend(line []string) (c command, path, rest []string, list []command) {
	list = commands()
	for i, word := range inFull(line) {
		at := slices.IndexFunc(list, func(c command) bool { return c.is(word) })
		if at < 0 {
			return c, path, nil, []command{}
		}
		c, path = list[at], append(path, list[at].name)
		if c.sub == nil {
			return c, path, inFull(line)[i+1:], nil
		}
		list = c.sub()
	}
	return c, path, nil, list
}

func commandsOf(list []command, current string) (found []string) {
	for _, c := range list {
		if strings.HasPrefix(c.name, current) {
			found = append(found, c.name+"\t"+c.summary)
		}
	}
	return found
}

func flagsOf(flags *flag.FlagSet, current string) (found []string) {
	flags.VisitAll(func(f *flag.Flag) {
		if name := dashed(f.Name); !f.Hidden && strings.HasPrefix(name, current) {
			_, usage := flag.UnquoteUsage(f)
			found = append(found, name+"\t"+usage)
		}
	})
	return found
}

// scan reads the words before the one that is completed: value is the flag whose value
// it is, if any.
func scan(flags *flag.FlagSet, words []string) (value *flag.Flag, arguments []string) {
	for _, word := range words {
		if value != nil {
			value = nil
			continue
		}
		if len(word) < 2 || word[0] != '-' || word == "--" {
			arguments = append(arguments, word)
			continue
		}
		f := flags.Lookup(strings.TrimPrefix(word, "--"))
		if word[1] != '-' {
			f = flags.ShorthandLookup(word[len(word)-1:])
		}
		if f != nil && f.NoOptDefVal == "" && (word[1] == '-' || takesNext(flags, word[1:])) {
			value = f
		}
	}
	return value, arguments
}

// beginning keeps the words that begin as the current one does, with a prefix.
func beginning(current, prefix string, words []string) (found []string) {
	for _, word := range words {
		if word = prefix + word; strings.HasPrefix(word, current) {
			found = append(found, word)
		}
	}
	return found
}

// valuesOf returns the values that a flag can have; none where they are files or free.
func valuesOf(name, current string) []string {
	switch name {
	case "network":
		list := slices.Clone(rule.Networks)
		for _, container := range ask("ps", "--names") {
			list = append(list, "join:"+container)
		}
		return list
	case "session":
		return ask("session", "list", "--names")
	case "personality", "arch":
		return arch.Names()
	case "root-as":
		return []string{"subordinate", "caller"}
	case "user", "users":
		return knownNames(func(d *user.Database) []byte { return d.Passwd })
	case "group", "groups":
		return knownNames(func(d *user.Database) []byte { return d.Group })
	case "signal":
		return []string{"TERM", "KILL", "INT", "HUP", "QUIT", "STOP", "CONT", "USR1", "USR2"}
	case "from", "images", nspawnRunImage:
		return imagesAnd(current)
	}
	return nil
}

// nspawnRunImage is the name of nspawn-run's only flag.
const nspawnRunImage = "n"

// argumentsOf returns what a command takes as its next argument, when it has some.
func argumentsOf(path []string, have int, current string) []string {
	name := strings.Join(path, " ")
	several := slices.Contains([]string{"kill", "wait", "session end", "image remove", "image update", "image prune", "image diff"}, name)
	if have > 0 && !several {
		return nil
	}
	switch name {
	case "exec", "kill", "wait", "inspect":
		return ask("ps", "--names")
	case "logs", "attach":
		return detachedNames()
	case "session end":
		return ask("session", "list", "--names")
	case "completion":
		return []string{"bash", "zsh", "fish"}
	case "run", "shell", "session begin", "policy explain", "image shell", "image export", "image inspect", "image slim", "image sbom", "image history", "image diff",
		"image verify", "image update", "image tag", "image rollback", "image prune", "image clone", "image rename", "image remove", "image send":
		return imagesAnd(current)
	}
	return nil
}

// imagesAnd lists the images, and the versions of the one that the current word names
// before an @.
func imagesAnd(current string) []string {
	name, _, versions := strings.Cut(current, "@")
	if !versions {
		return ask("image", "list", "--names")
	}
	var history []struct {
		Version int
		Tags    []string
	}
	if json.Unmarshal([]byte(strings.Join(ask("image", "history", "--json", name), "\n")), &history) != nil {
		return nil
	}
	var list []string
	for _, v := range history {
		list = append(list, fmt.Sprintf("%s@%d", name, v.Version))
		for _, tag := range v.Tags {
			list = append(list, name+"@"+tag)
		}
	}
	return list
}

// ask executes this program with the caller's grant, and returns what it prints.
func ask(args ...string) []string {
	path, err := os.Executable()
	if err != nil {
		return nil
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(string(out), func(c rune) bool { return c == '\n' })
}

func knownNames(file func(*user.Database) []byte) []string {
	database, err := user.Load(here.Here{})
	if err != nil {
		return nil
	}
	return passwd.Names(file(database))
}

// detachedNames lists the caller's detached runs.
func detachedNames() (names []string) {
	dir, err := detachedDirectory()
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), outputSuffix); is {
			names = append(names, name)
		}
	}
	return names
}
