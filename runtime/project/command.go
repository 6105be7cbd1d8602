package project

import (
	"fmt"
	"slices"
	"strings"
)

// A command is one of three: a text for the shell, a program with its arguments, or
// other commands, one after the other.
type command struct {
	line  int
	shell string
	args  []string
	steps []string
}

// maxScript bounds what a command becomes: steps of steps could make much of little.
const maxScript = 128 << 10

// Command returns what is executed for a command: a program with its arguments.
func (p *Project) Command(name string) ([]string, error) {
	c, ok := p.commands[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no command %q, %s", p.File, name, p.advice())
	case c.args != nil:
		return c.args, nil
	}
	script, err := p.script(name, nil)
	if err != nil {
		return nil, err
	}
	return shell(script), nil
}

// shell is how a text is executed: a command of it that fails ends it.
func shell(script string) []string { return []string{"/bin/sh", "-ec", script} }

// script returns a command as a text for the shell. under are the commands whose step
// it is.
func (p *Project) script(name string, under []string) (string, error) {
	c := p.commands[name]
	switch {
	case c.args != nil:
		return quoted(c.args), nil
	case c.steps == nil:
		return c.shell, nil
	}
	under = append(under, name)
	var lines []string
	length := 0
	for _, step := range c.steps {
		if slices.Contains(under, step) {
			return "", fmt.Errorf("%s: commands.%s: its steps lead back to it: %s", p.At(c.line), name, strings.Join(append(under, step), ", "))
		}
		line, err := p.script(step, slices.Clone(under))
		if err != nil {
			return "", err
		}
		if p.commands[step].args == nil {
			line = quoted(shell(line)) // in a shell of its own, as if it was run alone
		}
		if length += len(line); length > maxScript {
			return "", fmt.Errorf("%s: commands.%s: with all its steps it is longer than %d bytes", p.At(c.line), name, maxScript)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

// check returns an error for steps that are no commands, and for those that lead back.
func (p *Project) check() error {
	for _, name := range p.commanded {
		c := p.commands[name]
		for _, step := range c.steps {
			if _, ok := p.commands[step]; !ok {
				return fmt.Errorf("%s: commands.%s: there is no command %q, %s", p.At(c.line), name, step, p.advice())
			}
		}
	}
	for _, name := range p.commanded {
		if _, err := p.script(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// quoted writes arguments for the shell.
func quoted(args []string) string {
	list := make([]string, len(args))
	for i, arg := range args {
		list[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return strings.Join(list, " ")
}

// CommandLine is the line of a command.
func (p *Project) CommandLine(name string) int { return p.commands[name].line }

// Describe tells a command as the file does.
func (p *Project) Describe(name string) string {
	switch c := p.commands[name]; {
	case c.steps != nil:
		return "steps " + strings.Join(c.steps, ", ")
	case c.args != nil:
		return strings.Join(c.args, " ")
	default:
		return strings.TrimSpace(c.shell)
	}
}
