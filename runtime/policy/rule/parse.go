package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"mayfly/runtime/nearest"
	"mayfly/runtime/network/address"
)

// A parser reads one file, rule by rule. It uses the library's parser without its
// decoder: a launch reads every file, wants one rule of them, and wants to know the
// line of each setting.
type parser struct {
	text *text // settings are substrings of it
	toml unstable.Parser
	file *Contents
	list []string // the lists of the current rule, one after the other

	base    Rule // settings before the first rule, for all rules of the file
	current Rule
	inRule  bool
	prefix  string         // of the table in the rule; "": none
	seen    [keyCount]bool // keys that the current rule, or base, has set
	visit   func(*Rule) error
}

// Contents are a file's settings besides its rules.
type Contents struct {
	Settings Settings
	Main     bool // the file may have Settings
	// Mistake, if not nil, is called for each mistake, and the reading goes on behind
	// it. A mistake in the syntax of TOML is always the end.
	Mistake func(error)
	has     []string // keys of Settings that it has
}

// settingNames are the keys of Settings.
var settingNames = []string{"store", "audit", "image-group", "network-range", "unprivileged"}

// An ErrAt is an error with its place in a file. Line and Column count from 1, the
// column in bytes.
type ErrAt struct {
	Name         string
	Line, Column int
	err          error
}

func (e *ErrAt) Error() string { return fmt.Sprintf("%s:%d:%d: %v", e.Name, e.Line, e.Column, e.err) }
func (e *ErrAt) Unwrap() error { return e.err }

// Parse reads a policy file's text and calls visit for each rule. It uses the rule's
// memory again after visit: a rule that is to be kept must be cloned (Rule.Clone).
// Settings come into file. An error in the text is an *ErrAt; an error of visit is
// returned as it is.
func Parse(name string, data []byte, file *Contents, visit func(*Rule) error) error {
	p := &parser{text: &text{name, string(data)}, file: file, base: BuiltIn(), visit: visit}
	p.base.Source = p.text
	p.toml.Reset(data)
	for p.toml.NextExpression() {
		if err := p.mistake(p.expression(p.toml.Expression())); err != nil {
			return err
		}
	}
	if err := p.toml.Error(); err != nil {
		return p.syntax(err)
	}
	return p.mistake(p.finishRule())
}

// mistake returns the error, unless somebody wants to hear of all of them.
func (p *parser) mistake(err error) error {
	if err == nil || p.file.Mistake == nil {
		return err
	}
	p.file.Mistake(err)
	return nil
}

func (p *parser) expression(e *unstable.Node) error {
	switch e.Kind {
	case unstable.ArrayTable:
		return p.beginRule(e)
	case unstable.Table:
		return p.beginTable(e)
	case unstable.KeyValue:
		return p.keyValue(p.prefix, e)
	}
	return nil
}

func (p *parser) beginRule(e *unstable.Node) error {
	if name := p.keyOf("", e); name != "rule" {
		return p.at(e, fmt.Errorf("unknown list of tables [[%s]]: want [[rule]]", name))
	}
	if err := p.mistake(p.finishRule()); err != nil {
		return err
	}
	p.current, p.inRule, p.prefix, p.seen = p.base, true, "", [keyCount]bool{}
	p.current.begin = startOf(e)
	p.list = p.list[:0]
	return nil
}

func (p *parser) beginTable(e *unstable.Node) error {
	name := p.keyOf("", e)
	switch {
	case name == "rule":
		return p.at(e, errors.New("a rule begins with [[rule]], in two brackets"))
	case name != "rule.limits" || !p.inRule:
		return p.at(e, fmt.Errorf("unknown table [%s]", name))
	case p.prefix != "":
		return p.at(e, fmt.Errorf("[%s] is there twice", name))
	}
	p.prefix = "limits."
	return nil
}

// finishRule checks the current rule and calls visit with it.
func (p *parser) finishRule() error {
	if !p.inRule {
		return nil
	}
	if !p.seen[keyImages] {
		return p.errorAt(p.current.begin, errors.New(`the rule names no image: images = ["*"] is all of them`))
	}
	if r := &p.current; r.RootIDs != 0 && (len(r.Users) != 1 || len(r.Groups) != 0) {
		return p.errorAt(r.begin, errors.New("root-ids are one user's: the rule must name one, and no groups"))
	}
	return p.visit(&p.current)
}

func (p *parser) keyValue(prefix string, e *unstable.Node) error {
	name := p.keyOf(prefix, e)
	value := e.Value()
	if name == "limits" && value.Kind == unstable.InlineTable {
		for children := value.Children(); children.Next(); {
			if err := p.keyValue("limits.", children.Node()); err != nil {
				return err
			}
		}
		return nil
	}
	if !p.inRule && slices.Contains(settingNames, name) {
		return p.at(e, p.setting(name, value))
	}
	k := key(slices.Index(keyNames[:], name))
	if k < 0 {
		return p.at(e, fmt.Errorf("unknown key %q%s", name, nearest.Advice(name, append(keyNames[:], settingNames...), nil)))
	}
	rule := &p.base
	if p.inRule {
		rule = &p.current
	} else if k <= keyDeny {
		return p.at(e, fmt.Errorf("%s belongs into a [[rule]]", name))
	}
	if p.seen[k] {
		return p.at(e, fmt.Errorf("%s is there twice", name))
	}
	p.seen[k] = true
	rule.Offsets[k] = startOf(e)
	if err := p.assign(rule.setting(k), value); err != nil {
		return p.at(e, fmt.Errorf("%s: %w", name, err))
	}
	if err := rule.check(k); err != nil {
		return p.at(e, fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

func (p *parser) setting(name string, value *unstable.Node) error {
	c := p.file
	target := any(&c.Settings.Store)
	switch name {
	case "audit":
		target = &c.Settings.Audit
	case "image-group":
		target = &c.Settings.ImageGroup
	case "network-range":
		target = &c.Settings.NetworkRange
	case "unprivileged":
		target = &c.Settings.Unprivileged
	}
	switch {
	case !c.Main:
		return fmt.Errorf("%s belongs into %s", name, File)
	case slices.Contains(c.has, name):
		return fmt.Errorf("%s is there twice", name)
	}
	c.has = append(c.has, name)
	if err := p.assign(target, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch name {
	case "store":
		return checkPath(c.Settings.Store)
	case "image-group":
		return checkWho(c.Settings.ImageGroup)
	case "network-range":
		_, err := address.Parse(c.Settings.NetworkRange)
		return err
	}
	return nil
}

// assign sets a setting to a TOML value of its type.
func (p *parser) assign(target any, v *unstable.Node) error {
	switch t := target.(type) {
	case *[]string:
		return p.assignList(t, v)
	case *bool:
		if v.Kind != unstable.Bool {
			return errors.New("want true or false")
		}
		*t = len(v.Data) > 0 && v.Data[0] == 't'
		return nil
	case *int:
		n, err := strconv.ParseInt(strings.ReplaceAll(string(v.Data), "_", ""), 0, 32)
		if v.Kind != unstable.Integer || err != nil {
			return errors.New("want a number")
		}
		*t = int(n)
		return nil
	case *float64:
		n, err := strconv.ParseFloat(strings.ReplaceAll(string(v.Data), "_", ""), 64)
		if v.Kind != unstable.Float && v.Kind != unstable.Integer || err != nil || n != n || n > 1<<20 {
			return errors.New("want a number of processors")
		}
		*t = n
		return nil
	}
	if v.Kind != unstable.String {
		return errors.New("want a text in quotes")
	}
	return assignText(target, p.string(v))
}

func assignText(target any, text string) (err error) {
	switch t := target.(type) {
	case *string:
		*t = text
	case *memory:
		var n int64
		n, err = ParseBytes(text)
		*t = memory(n)
	case *time.Duration:
		*t, err = parseTime(text)
	}
	return err
}

func (p *parser) assignList(target *[]string, v *unstable.Node) error {
	if v.Kind != unstable.Array {
		return errors.New("want a list of texts")
	}
	begin := len(p.list)
	for children := v.Children(); children.Next(); {
		n := children.Node()
		if n.Kind != unstable.String {
			return errors.New("want a list of texts")
		}
		p.list = append(p.list, p.string(n))
	}
	*target = p.list[begin:len(p.list):len(p.list)]
	if !p.inRule {
		*target = slices.Clone(*target) // every rule of the file begins with this list
	}
	return nil
}

// string returns a node's text: a substring of the file if nothing in it is escaped.
func (p *parser) string(n *unstable.Node) string {
	begin := int(n.Raw.Offset)
	if n.Kind == unstable.String {
		begin++ // the quote
	}
	if end := begin + len(n.Data); end <= len(p.text.data) && p.text.data[begin:end] == string(n.Data) {
		return p.text.data[begin:end]
	}
	return string(n.Data)
}

// keyOf returns a dotted key after a prefix.
func (p *parser) keyOf(prefix string, e *unstable.Node) string {
	name := prefix
	for keys := e.Key(); keys.Next(); {
		if name != prefix {
			name += "."
		}
		name += p.string(keys.Node()) // does not copy if one of the two is empty
	}
	return name
}

// startOf returns where an expression's key begins.
func startOf(e *unstable.Node) offset {
	if keys := e.Key(); keys.Next() {
		return offset(keys.Node().Raw.Offset) + 1
	}
	return 1
}

func (p *parser) at(e *unstable.Node, err error) error {
	if err == nil {
		return nil
	}
	return p.errorAt(startOf(e), err)
}

func (p *parser) errorAt(o offset, err error) error {
	place := p.text.Place(o)
	column := int(o) - 1 - strings.LastIndex(p.text.data[:o-1], "\n")
	return &ErrAt{place.File, place.Line, column, err}
}

// syntax turns the library's error into an ErrAt. What the error highlights is a part
// text, or nothing.
func (p *parser) syntax(err error) error {
	var broken *unstable.ParserError
	if !errors.As(err, &broken) {
		return fmt.Errorf("%s: %w", p.text.name, err)
	}
	place := len(p.toml.Data())
	if len(broken.Highlight) > 0 {
		place = int(p.toml.Range(broken.Highlight).Offset)
	}
	return p.errorAt(offset(place)+1, errors.New(broken.Message))
}
