package ref

import (
	"strings"
	"testing"
)

func TestAReferenceIsANameAndPerhapsAVersion(t *testing.T) {
	for text, want := range map[string]Reference{"a": {Name: "a"}, "deb12-i386@1": {Name: "deb12-i386", Version: 1}, "a.b_c@999999999": {Name: "a.b_c", Version: 999999999},
		"a@sha256:01abcd": {Name: "a", Digest: "01abcd"}, "a@stable": {Name: "a", Tag: "stable"}, "a@v1.2_x-": {Name: "a", Tag: "v1.2_x-"}} {
		if got, err := Parse(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "@1", "a@", "a@0", "a@01", "a@+1", "a@-1", "a@1@2", "a@1000000000", "a@ 1", "a@.x", "a@sha256", "a@sha256:01abc", "a@sha256:01abcg", "a@sha256:01ABCD", "a@sha256:" + strings.Repeat("0", 65), "a@x:y", "a@a b", ".a", "a/b", "a\n", strings.Repeat("a", 65)} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"a", "a@1", "a@sha256:012345", "a@tag", "deb12@", "@", "a@99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: %+v, again %+v, %v", text, got, again, err)
		}
		if strings.ContainsAny(got.Name, "/@\x00\n") || got.Name[0] == '.' {
			t.Errorf("%q has the name %q", text, got.Name)
		}
	})
}
