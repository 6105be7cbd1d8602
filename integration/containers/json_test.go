package containers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A schema is what the documentation says of a command's JSON: the type of each key.
type schema struct {
	list bool
	keys map[string]key
}

type key struct {
	kind     string
	optional bool
}

// documented reads docs/json.md.
func documented(t *testing.T) map[string]schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	kit.Must(t, err)
	all := map[string]schema{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(name, "runtime ") {
			continue
		}
		s := schema{list: strings.HasPrefix(strings.TrimSpace(body), "A list"), keys: map[string]key{}}
		if name == "runtime run --stats" { // as with --status
			for k, v := range all["runtime run --status"].keys {
				s.keys[k] = v
			}
		}
		for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \|`).FindAllStringSubmatch(body, -1) {
			names, kinds := strings.Split(row[1], ", "), strings.Split(row[2], ", ")
			if row[1] == "key" {
				continue
			}
			if len(names) != len(kinds) {
				t.Fatalf("%s: %d keys have %d types: %s", name, len(names), len(kinds), row[0])
			}
			for i, n := range names {
				n, optional := strings.CutSuffix(n, "?")
				n = strings.ReplaceAll(n, "?", "")
				s.keys[n] = key{kinds[i], optional}
			}
		}
		all[name] = s
	}
	return all
}

// holds checks an object against a schema. prefix is that of its keys.
func (s schema) holds(t *testing.T, what, prefix string, object map[string]any) {
	t.Helper()
	for name, k := range s.keys {
		rest, below := strings.CutPrefix(name, prefix)
		if _, there := object[rest]; below && !strings.Contains(rest, "[]") && !there && !k.optional {
			t.Errorf("%s: there is no %s", what, name)
		}
	}
	for name, value := range object {
		k, known := s.keys[prefix+name]
		if !known {
			t.Errorf("%s: docs/json.md does not know %s%s = %v", what, prefix, name, value)
			continue
		}
		if problem := k.refuses(value); problem != "" {
			t.Errorf("%s: %s%s: %s", what, prefix, name, problem)
		}
		if list, is := value.([]any); is && k.kind == "list (object)" {
			for _, one := range list {
				if below := prefix + name + "[]."; slices.ContainsFunc(keysOf(s.keys), func(n string) bool { return strings.HasPrefix(n, below) }) {
					s.holds(t, what, below, one.(map[string]any))
				}
			}
		}
	}
}

func keysOf(m map[string]key) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// refuses says why a value is not of the key's type.
func (k key) refuses(value any) string {
	ok := false
	switch v := value.(type) {
	case string:
		ok = k.kind == "string"
		if k.kind == "time" {
			_, err := time.Parse(time.RFC3339, v)
			ok = err == nil
		}
	case float64:
		ok = k.kind == "number"
	case bool:
		ok = k.kind == "bool"
	case map[string]any:
		ok = k.kind == "object"
	case []any:
		ok = strings.HasPrefix(k.kind, "list (")
		of := key{kind: strings.TrimSuffix(strings.TrimPrefix(k.kind, "list ("), ")")}
		for _, one := range v {
			if problem := of.refuses(one); problem != "" {
				return problem
			}
		}
	}
	if ok || k.kind == "any" {
		return ""
	}
	return fmt.Sprintf("%v is no %s", value, k.kind)
}

func TestJSONIsAsDocumented(t *testing.T) {
	start(t, kit.User, "described", "exec sleep 60")
	kit.Run(t, "session", "begin", "--name", "described", kit.Image)
	t.Cleanup(func() { kit.Run(t, "session", "end", "described") })
	own, uid, gid := kit.Lookup(t, kit.User)
	project := filepath.Join(own.HomeDir, "mayfly.toml")
	kit.Must(t, errors.Join(os.WriteFile(project, []byte("image = \""+kit.Sealed+"\"\nnetwork = \"none\"\n[commands]\nbuild = \"make\"\n"), 0o644), os.Chown(project, int(uid), int(gid))))
	t.Cleanup(func() {
		_ = os.Remove(project)
		kit.Root(t, "image", "tag", "--remove", kit.Sealed, "described")
	})
	commands := map[string]string{ // the command of a heading, as it is tried
		"runtime run --status":      "run --chdir / --status /dev/stdout " + kit.Sealed + " true",
		"runtime run --stats":       "run --chdir / --stats /dev/stdout " + kit.Sealed + " true",
		"runtime run --inputs":      "run --chdir / --quiet --inputs /dev/stdout " + kit.Sealed + " true",
		"runtime wait":              "wait --json awaited",
		"runtime session begin":     "session begin --json --name described-too " + kit.Image,
		"runtime session end":       "session end --json described-too",
		"runtime image history":     "image history --json " + kit.Sealed,
		"runtime image inspect":     "image inspect --json " + kit.Sealed,
		"runtime image diff":        "image diff --json --packages " + kit.Base + " " + kit.Sealed,
		"runtime image bisect":      "", // integration/image
		"runtime verify-provenance": "", // integration/build
		"runtime image update":      "", // integration/image
		"runtime image tag":         "image tag --json " + kit.Sealed + " described",
		"runtime image prune":       "image prune --json " + kit.Sealed,
		"runtime image remove":      "", // integration/image
		"runtime image sync":        "", // integration/image
		"runtime policy explain":    "policy explain --json " + kit.Image,
	}
	all := documented(t)
	if len(all) < 20 {
		t.Errorf("docs/json.md has %d commands only", len(all))
	}
	order := []string{"runtime session begin"} // before it is ended
	for name := range all {
		if name != order[0] {
			order = append(order, name)
		}
	}
	for _, name := range order {
		line, special := commands[name]
		if !special {
			line = strings.TrimPrefix(name, "runtime ") + " --json"
		}
		if line == "" {
			continue
		}
		if name == "runtime wait" {
			start(t, kit.User, "awaited", fmt.Sprintf("sleep %v; exit 3", kit.Within(2*time.Second).Seconds()))
		}
		run := kit.Run
		if strings.HasPrefix(line, "image diff") || strings.HasPrefix(line, "image tag") || strings.HasPrefix(line, "image prune") {
			run = kit.Root
		}
		r := run(t, strings.Fields(line)...)
		var list []map[string]any
		var err error
		if all[name].list || name == "runtime ps" {
			err = json.Unmarshal([]byte(r.Out), &list)
		} else {
			list = make([]map[string]any, 1)
			err = json.Unmarshal([]byte(r.Out), &list[0])
		}
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %v: %+v", line, err, r)
			continue
		}
		for _, object := range list {
			all[name].holds(t, line, "", object)
		}
	}
}
