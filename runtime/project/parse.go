package project

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/nearest"
)

// Parse reads the text of a file. An error names the file and the line.
func Parse(name string, data []byte) (*Project, error) {
	p := &parser{Project: &Project{File: name, text: string(data), commands: map[string]command{}}, seen: map[string]bool{}}
	p.toml.Reset(data)
	for p.toml.NextExpression() {
		if err := p.expression(p.toml.Expression()); err != nil {
			return nil, err
		}
	}
	if err := p.toml.Error(); err != nil {
		return nil, p.syntax(err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.Project, nil
}

type parser struct {
	*Project
	toml   unstable.Parser
	prefix []string // of the table
	seen   map[string]bool
}

func (p *parser) expression(e *unstable.Node) error {
	switch e.Kind {
	case unstable.Table:
		p.prefix = keyOf(nil, e)
		known := len(p.prefix) == 1 && slices.Contains([]string{"env", "limits", "commands"}, p.prefix[0]) || len(p.prefix) == 2 && p.prefix[0] == "commands"
		if !known {
			return p.at(e, fmt.Errorf("unknown table [%s]: there are [env], [limits] and [commands]", strings.Join(p.prefix, ".")))
		}
		return p.once(e, "["+strings.Join(p.prefix, ".")+"]")
	case unstable.ArrayTable:
		return p.at(e, fmt.Errorf("unknown list of tables [[%s]]", strings.Join(keyOf(nil, e), ".")))
	case unstable.KeyValue:
		return p.keyValue(p.prefix, e)
	}
	return nil
}

// keyValue reads a setting. A table in braces has several.
func (p *parser) keyValue(prefix []string, e *unstable.Node) error {
	key, value := keyOf(prefix, e), e.Value()
	name := strings.Join(key, ".")
	if value.Kind == unstable.InlineTable && slices.Contains([]string{"env", "limits", "commands"}, key[0]) && len(key) < 3 {
		if err := p.once(e, "["+name+"]"); err != nil {
			return err
		}
		for children := value.Children(); children.Next(); {
			if err := p.keyValue(key, children.Node()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.once(e, name); err != nil {
		return err
	}
	var err error
	switch {
	case name == "image":
		err = p.setImage(value)
	case key[0] == "env" && len(key) == 2:
		err = p.setVariable(e, key[1], value)
	case key[0] == "commands" && (len(key) == 2 || len(key) == 3 && key[2] == "steps"):
		err = p.setCommand(e, key, value)
	case strings.Count(name, ".") != len(key)-1: // a key in quotes, with a dot
		err = errors.New("there is no such setting")
	default:
		err = p.set(e, name, value)
	}
	if err != nil {
		return p.at(e, fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// once refuses a key that is there again.
func (p *parser) once(e *unstable.Node, name string) error {
	if p.seen[name] {
		return p.at(e, fmt.Errorf("%s is there twice", name))
	}
	p.seen[name] = true
	return nil
}

func (p *parser) setImage(value *unstable.Node) error {
	name, err := textOf(value)
	if err != nil {
		return err
	}
	if p.Image, err = ref.Parse(name); err != nil {
		return err
	}
	begin := int(value.Raw.Offset)
	p.image = span{begin, begin + int(value.Raw.Length), p.lineOf(begin)}
	return nil
}

func (p *parser) setVariable(e *unstable.Node, name string, value *unstable.Node) error {
	content, err := textOf(value)
	if err != nil {
		return err
	}
	if name == "" || strings.ContainsAny(name, "= \t\"'\x00") || strings.IndexByte(content, 0) >= 0 {
		return errors.New("no name or value of a variable")
	}
	p.add(e, "env", name+"="+content)
	return nil
}

// setCommand reads commands.NAME, and commands.NAME.steps.
func (p *parser) setCommand(e *unstable.Node, key []string, value *unstable.Node) (err error) {
	name := key[1]
	if err := ref.CheckName("command", name); err != nil {
		return err
	}
	if _, there := p.commands[name]; there {
		return errors.New("the command is there twice")
	}
	c := command{line: p.lineAt(e)}
	switch {
	case len(key) == 3:
		c.steps, err = listOf(value)
	case value.Kind == unstable.String:
		c.shell, err = textOf(value)
	case value.Kind == unstable.Array:
		c.args, err = listOf(value)
	default:
		err = errors.New(`want a text for the shell, a list ["PROGRAM", "ARGUMENT"], or {steps = ["COMMAND", "COMMAND"]}`)
	}
	switch {
	case err != nil:
		return err
	case c.shell == "" && len(c.args) == 0 && len(c.steps) == 0 || len(c.args) > 0 && c.args[0] == "":
		return errors.New("it is empty")
	case strings.IndexByte(c.shell+strings.Join(c.args, ""), 0) >= 0:
		return errors.New("it has a NUL byte")
	}
	p.commands[name] = c
	p.commanded = append(p.commanded, name)
	return nil
}

// set reads a setting that is a flag.
func (p *parser) set(e *unstable.Node, name string, value *unstable.Node) error {
	var names []string
	for _, s := range settings {
		if s.key == name {
			values, err := p.valuesOf(s.kind, value)
			for _, text := range values {
				p.add(e, s.flag, text)
			}
			return err
		}
		names = append(names, s.key)
	}
	if slices.Contains(names, "limits."+name) {
		return fmt.Errorf("it belongs to limits: limits.%s, or below [limits]", name)
	}
	names = append(names, "image", "env", "limits", "commands")
	return errors.New("there is no such setting" + nearest.Advice(name, names, nil))
}

func (p *parser) add(e *unstable.Node, flag, value string) {
	p.Settings = append(p.Settings, Setting{flag, value, p.lineAt(e)})
}

func keyOf(prefix []string, e *unstable.Node) []string {
	key := slices.Clone(prefix)
	for keys := e.Key(); keys.Next(); {
		key = append(key, string(keys.Node().Data))
	}
	return key
}

func (p *parser) lineOf(offset int) int {
	return 1 + strings.Count(p.text[:min(offset, len(p.text))], "\n")
}

func (p *parser) lineAt(e *unstable.Node) int {
	if keys := e.Key(); keys.Next() {
		return p.lineOf(int(keys.Node().Raw.Offset))
	}
	return 1
}

func (p *parser) at(e *unstable.Node, err error) error {
	return fmt.Errorf("%s: %w", p.At(p.lineAt(e)), err)
}

// syntax says where the library's error is. What the error highlights is a part of the
// text, or nothing.
func (p *parser) syntax(err error) error {
	var broken *unstable.ParserError
	if !errors.As(err, &broken) {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	place := len(p.text)
	if len(broken.Highlight) > 0 {
		place = int(p.toml.Range(broken.Highlight).Offset)
	}
	return fmt.Errorf("%s: %s; texts are in quotes", p.At(p.lineOf(place)), broken.Message)
}
