package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestMistakesInGlobsAreTold(t *testing.T) {
	check := func(line string) string {
		return "printf '%s\\n' '[[rule]]' '" + line + "' >p.toml; runtime policy check p.toml"
	}
	const matchesNothing = `runtime: p.toml:2:1: %: "X" matches nothing: no name has "Y" there`
	told := func(key, glob, part string) string {
		return strings.NewReplacer("%", key, "X", glob, "Y", part).Replace(matchesNothing)
	}
	hold(t, []report{
		{name: "a version", source: "podman: policy.json scope with a tag never matches",
			do: check(`images = ["deb12@1"]`), code: 125, err: told("images", "deb12@1", "@") + ": a rule is for all versions"},
		{name: "braces", source: "sudo: {a,b} in sudoers matches nothing",
			do: check(`images = ["deb{11,12}"]`), code: 125, err: told("images", "deb{11,12}", "{")},
		{name: "a star that stands for itself", source: "sudo: escaped wildcard",
			do: check(`images = ["a\\*"]`), code: 125, err: told("images", `a\\*`, `\\*`)},
		{name: "a variable with a value", source: "schroot: environment-filter",
			do: check("images = [\"*\"]\nenv = [\"A=1\"]"), code: 125, err: strings.Replace(told("env", "A=1", "="), ":2:", ":3:", 1)},
		{name: "a glob that is one", source: "sudo: [!a] in sudoers",
			do: check(`images = ["deb12-[!p]*", "[^a-c]?", "*"]`), out: "p.toml:2: warning: [^a-c]? matches no image of the store\n1 rule, no mistakes, 1 warning\n"},
	})
}

// [!x] is whatever is not x, as in a shell, and not x or an exclamation mark.
func TestAnExclamationMarkNegates(t *testing.T) {
	const dropIn = "/etc/mayfly/policy.d/00-reports.toml"
	kit.Must(t, os.MkdirAll(filepath.Dir(dropIn), 0o755))
	t.Cleanup(func() { _ = os.Remove(dropIn) })
	const source = "sudo: [!a-z] in sudoers"
	last := kit.Image[len(kit.Image)-1:]
	for glob, code := range map[string]int{"*[!" + last + "]": 0, "*[^" + last + "]": 0, "*[!.]": 125, "*[" + last + "]": 125} {
		kit.Must(t, os.WriteFile(dropIn, []byte("[[rule]]\nimages = [\""+glob+"\"]\ndeny = true\n"), 0o644))
		if r := kit.Inside(t, "true"); r.Code != code || code != 0 && !strings.Contains(r.Err, dropIn+":1 denies it") {
			t.Errorf("%s: %s: %+v, want status %d", source, glob, r, code)
		}
	}
	kit.NothingLeft(t)
}
