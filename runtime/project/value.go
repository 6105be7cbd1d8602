package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

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
		return filepath.Join("/", os.Getenv("HOME"), rest)
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir(), name)
}

// fromHereEscaped is fromHere for the source of a bind, SRC[:DST], in which a backslash
// escapes a colon.
func (p *parser) fromHereEscaped(bind string) string {
	switch {
	case strings.HasPrefix(bind, "~/"):
		return plan.EscapeBind(filepath.Join("/", os.Getenv("HOME"))) + bind[1:]
	case strings.HasPrefix(bind, "/"), strings.HasPrefix(bind, ":"):
		return bind
	}
	return plan.EscapeBind(p.Dir()) + "/" + bind
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
