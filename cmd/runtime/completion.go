package main

import (
	_ "embed" // for the scripts
	"fmt"
	"strings"

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
				case len(args) > 0 && args[0] == "words":
					fmt.Fprint(stdout, strings.Join(append(words(args[1:]), ""), "\n"))
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

// words returns what can come next on a command line: names of commands or flags, or
// "<containers>" and the like, for which the script calls another command.
func words(line []string) []string {
	list, path := commands(), []string{}
	for _, word := range line {
		found := false
		for _, c := range list {
			if c.name != word {
				continue
			}
			if c.sub == nil {
				return append(flagsOf(c), nameKinds(append(path, word))...)
			}
			list, path, found = c.sub(), append(path, word), true
			break
		}
		if !found {
			break
		}
	}
	var result []string
	for _, c := range list {
		result = append(result, c.name)
	}
	return result
}

func flagsOf(c command) []string {
	flags := newFlags(c.name)
	c.setUp(flags)
	var result []string
	for _, name := range flagNames(flags) {
		result = append(result, "--"+name)
	}
	return result
}

// nameKinds returns the kind of name that a command takes as its argument.
func nameKinds(path []string) []string {
	switch strings.Join(path, " ") {
	case "exec", "kill", "wait", "inspect", "logs", "attach":
		return []string{"<containers>"}
	case "session end":
		return []string{"<sessions>"}
	case "run", "shell", "session begin", "policy explain", "image shell", "image export", "image inspect", "image history", "image diff",
		"image verify", "image update", "image rollback", "image prune", "image clone", "image rename", "image remove", "image send":
		return []string{"<images>"}
	}
	return nil
}
