package rule

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlobsAreThoseOfFnmatch(t *testing.T) {
	for _, c := range []struct{ glob, yes, no string }{
		{"deb12", "deb12", "deb1 deb123 Deb12"},
		{"deb*", "deb deb12 deb12-i386", "de xdeb deb/x"},
		{"*-i386", "-i386 deb12-i386 a-i386-i386", "i386 deb12-i3866"},
		{"*a*b*", "ab xaxbx aab", "ba a b"},
		{"deb1?", "deb12 deb1ä", "deb1 deb123 deb1/"},
		{"deb12-[!p]*", "deb12-i386 deb12-qp", "deb12-p deb12-proprietary deb12-"},
		{"deb12-[^p]*", "deb12-i386", "deb12-proprietary"},
		{"[p!]*", "p !x", "a"},
		{"[a-cx]1", "a1 c1 x1", "d1 -1 a"},
		{"[!a-c]1", "d1", "a1 b1 /1"},
		{"[]a]", "] a", "b []a]"},
		{"[!]a]", "b", "] a"},
		{"[a-]", "a -", "b"},
		{"[-a]", "a -", "b"},
		{`[\]-]`, "] -", `\ a`},
		{`\*`, "*", `\* a`},
		{`a\[b`, "a[b", "ab"},
		{"[a-c]*[!0-9]", "ax bcx ab", "a a1 dx"},
		{"**", "a ab", ""},
		{"LC_*", "LC_ALL LC_", "LC LANG"},
	} {
		for _, name := range strings.Fields(c.yes) {
			if !matchAny([]string{c.glob}, name) {
				t.Errorf("%q does not match %q", c.glob, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if matchAny([]string{c.glob}, name) {
				t.Errorf("%q matches %q", c.glob, name)
			}
		}
	}
}

func TestAGlobThatMatchesNoNameIsAMistake(t *testing.T) {
	long := strings.Repeat("a", maxName)
	for _, c := range []struct {
		glob, image, variable string // the mistake, "" for none
	}{
		{"deb12-[!p]*", "", ""}, {"*", "", ""}, {"*.x", "", ""}, {long + "*", "", ""}, {`deb\12`, "", ""},
		{"", "an empty name", "an empty name"},
		{"deb12@1", `no name has "@" there: a rule is for all versions`, ""},
		{"deb12@*", `no name has "@" there: a rule is for all versions`, ""},
		{"{a,b}", `no name has "{" there`, `no name has "{" there`},
		{"a,b", `no name has "," there`, `no name has "," there`},
		{`\*`, `no name has "\\*" there`, `no name has "\\*" there`},
		{"A=1", `no name has "=" there`, `no name has "=" there`},
		{"$HOME", `no name has "$" there`, `no name has "$" there`},
		{"two words", `no name has " " there`, `no name has " " there`},
		{"store/deb12", `no name has "/" there`, ""},
		{".hidden", `no name has "." there`, ""},
		{"[._-]x", `no name has "[._-]" there`, ""},
		{"x[@{]", `no name has "[@{]" there`, ""},
		{"[ä]", `no name has "[ä]" there`, ""},
		{"ä", `no name has "ä" there`, ""},
		{"[!a-zA-Z0-9]x", `no name has "[!a-zA-Z0-9]" there`, ""},
		{long + "?", "no name is longer than 64", ""},
		{"[a", "a [ has no ]", "a [ has no ]"}, {"[]", "a [ has no ]", "a [ has no ]"}, {"[!]", "a [ has no ]", "a [ has no ]"},
		{`a\`, "something is missing", "something is missing"}, {"[z-a]", "z-a is empty", "z-a is empty"},
		{"[[:digit:]]", "write them out", "write them out"},
	} {
		for want, err := range map[string]error{c.image: checkImageGlob(c.glob), c.variable + " ": checkVariableGlob(c.glob)} {
			want = strings.TrimSpace(want)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q: %v, want %q", c.glob, err, want)
			}
		}
	}
}

// Where package path has the same globs, it has the same answers.
func FuzzGlob(f *testing.F) {
	f.Add("a*[b-d]?", "axxcz")
	f.Add(`*\**`, "a*b")
	f.Add("[^a]*b*c", "xbcbc")
	f.Fuzz(func(t *testing.T, glob, name string) {
		_, err := checkGlob(glob, func(rune, bool) bool { return true })
		want, bad := path.Match(glob, name)
		if bad != nil || err != nil || !utf8.ValidString(glob+name) || strings.Contains(glob, "[!") ||
			strings.Contains(glob, "/") || strings.Contains(glob, "[]") || strings.Contains(glob, "[^]") {
			return
		}
		if got := matchAny([]string{glob}, name); got != want {
			t.Errorf("%q and %q: %v", glob, name, got)
		}
	})
}
