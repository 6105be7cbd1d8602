package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/nearest"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
)

// A kind is what the value of a setting has to be.
type kind int

const (
	text kind = iota
	truth
	number
	processors
	size
	duration
	path
	texts
	paths
	binds
	tmpfses
)

// settings are the keys of the file that are flags, by their names in the file.
var settings = []struct {
	key, flag string
	kind      kind
}{
	{"bind", "bind", binds}, {"bind-ro", "bind-ro", binds}, {"no-bind", "no-bind", texts}, {"no-host-binds", "no-host-binds", truth},
	{"tmpfs", "tmpfs", tmpfses}, {"env-pass", "env", texts}, {"env-file", "env-file", paths}, {"env-all", "env-all", truth},
	{"network", "network", text}, {"publish", "publish", texts}, {"add-host", "add-host", texts}, {"hostname", "hostname", text},
	{"personality", "personality", text}, {"root", "root", truth}, {"root-as", "root-as", text}, {"writable", "writable", truth},
	{"no-sync", "no-sync", truth}, {"ssh-agent", "ssh-agent", truth}, {"gui", "gui", truth},
	{"allow-inputs", "allow-inputs", path}, {"output", "output", texts},
	{"limits.memory", "memory", size}, {"limits.swap", "swap", size}, {"limits.output", "output-limit", size},
	{"limits.tasks", "tasks", number}, {"limits.cpus", "cpus", processors}, {"limits.cpu-weight", "cpu-weight", number},
	{"limits.io-weight", "io-weight", number}, {"limits.timeout", "timeout", duration}, {"limits.kill-after", "kill-after", duration},
}

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
	if name == "" || strings.ContainsAny(name, "=\x00") || strings.IndexByte(content, 0) >= 0 {
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
	names = append(names, "image", "env", "limits", "commands")
	return errors.New("there is no such setting" + nearest.Advice(name, names, nil))
}

func (p *parser) add(e *unstable.Node, flag, value string) {
	p.Settings = append(p.Settings, Setting{flag, value, p.lineAt(e)})
}

// valuesOf returns the values of a setting as a flag takes them.
func (p *parser) valuesOf(k kind, value *unstable.Node) (list []string, err error) {
	switch k {
	case truth:
		if value.Kind != unstable.Bool {
			return nil, errors.New("want true or false")
		}
		return []string{string(value.Data)}, nil
	case number, processors:
		return numberOf(k, value)
	case texts, paths, binds, tmpfses:
		list, err = listOf(value)
	default:
		var one string
		one, err = textOf(value)
		list = []string{one}
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i] == "" || strings.IndexByte(list[i], 0) >= 0 {
			return nil, fmt.Errorf("%q: want some text", list[i])
		}
		if list[i], err = p.checked(k, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// checked checks a text of a kind, and returns it with names of files from the file's
// directory on.
func (p *parser) checked(k kind, text string) (string, error) {
	switch k {
	case size:
		_, err := rule.ParseBytes(text)
		return text, err
	case duration:
		if d, err := time.ParseDuration(text); err != nil || d < 0 {
			return "", fmt.Errorf("%q: want a time such as 90s, 10m, 2h", text)
		}
	case tmpfses:
		_, err := plan.ParseTmpfs(text)
		return text, err
	case path, paths:
		return p.fromHere(text), nil
	case binds:
		text = p.fromHereEscaped(text)
		_, err := plan.ParseBind(text, p.Dir(), false)
		return text, err
	}
	return text, nil
}

// fromHere makes a path absolute: ~/ is the home, any other is in the file's directory.
func (p *parser) fromHere(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return filepath.Join(os.Getenv("HOME"), rest)
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir(), name)
}

// fromHereEscaped is fromHere for the source of a bind, SRC[:DST], in which a backslash
// escapes a colon.
func (p *parser) fromHereEscaped(bind string) string {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace
	switch {
	case strings.HasPrefix(bind, "~/"):
		return escape(os.Getenv("HOME")) + bind[1:]
	case strings.HasPrefix(bind, "/"), strings.HasPrefix(bind, ":"):
		return bind
	}
	return escape(p.Dir()) + "/" + bind
}

func numberOf(k kind, value *unstable.Node) ([]string, error) {
	digits := strings.ReplaceAll(string(value.Data), "_", "")
	n, err := strconv.ParseFloat(digits, 64)
	whole := value.Kind == unstable.Integer
	switch {
	case err != nil || !(n > 0 && n < 1<<31) || !whole && value.Kind != unstable.Float:
		return nil, errors.New("want a number above 0")
	case k == number && !whole:
		return nil, errors.New("want a whole number")
	}
	return []string{digits}, nil
}

func textOf(value *unstable.Node) (string, error) {
	if value.Kind != unstable.String {
		return "", errors.New("want a text in quotes")
	}
	return string(value.Data), nil
}

func listOf(value *unstable.Node) ([]string, error) {
	if value.Kind != unstable.Array {
		return nil, errors.New("want a list of texts")
	}
	list := []string{}
	for children := value.Children(); children.Next(); {
		one, err := textOf(children.Node())
		if err != nil {
			return nil, errors.New("want a list of texts")
		}
		list = append(list, one)
	}
	return list, nil
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
	return fmt.Errorf("%s: %s", p.At(p.lineOf(place)), broken.Message)
}
