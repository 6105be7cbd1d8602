package rule

import (
	"strings"
	"testing"
	"time"
)

func TestWhichRuleHidesALaterOne(t *testing.T) {
	of := func(text string) *Rule { // IMAGES / USERS / GROUPS
		parts := strings.Split(text+"//", "/")
		return &Rule{Images: strings.Fields(parts[0]), Users: strings.Fields(parts[1]), Groups: strings.Fields(parts[2])}
	}
	for _, c := range []struct {
		first, later string
		hides        bool
	}{
		{"*", "a b*", true},
		{"*/u", "a", false},
		{"*", "a/u/g", true},
		{"*/u v", "a/u", true},
		{"*/u", "a/u v", false},
		{"*//g", "a/u", false},
		{"*//g h", "a//h", true},
		{"deb*", "deb12", true},
		{"deb*", "deb12-*", true},
		{"deb*", "de*", false},
		{"deb*", "*", false},
		{"deb12-*", "deb12-[ab]*", true},
		{"*-i386", "deb12-i386", true},
		{"*-i386", "deb?-i386", false}, // it does, and is not found out
		{"a b", "b a", true},
		{"a b", "b c", false},
		{`a\*`, `a\*`, true},
		{`a*`, `a\*b`, true},
	} {
		if got := of(c.first).Hides(of(c.later)); got != c.hides {
			t.Errorf("%q hides %q: %v", c.first, c.later, got)
		}
	}
}

func TestSettingsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"0", "1", "1K", "1023K", "512M", "4G", "1T", "1025", "2048T"} {
		n, err := ParseBytes(text)
		if got := memory(n).String(); err != nil || got != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"4h", "1h30m", "10m", "90s", "1m30s", "10h", "20m", "100ms", "1h0m5s"} {
		d, err := time.ParseDuration(text)
		if got := shortTime(d); err != nil || got != text && d != 90*time.Second {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

func TestTextsInTOML(t *testing.T) {
	if got, want := QuoteList([]string{`a"\`, "b\n", "ä"}), `["a\"\\", "b\u000A", "ä"]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
