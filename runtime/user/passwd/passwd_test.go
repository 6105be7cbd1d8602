package passwd

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestALineOfPasswdHasSevenFields(t *testing.T) {
	const line = "dev:x:1000:100:Dev,,,:/home/dev:/bin/zsh"
	got, err := ParseLine(line)
	if want := (Entry{Name: "dev", UID: 1000, GID: 100, Home: "/home/dev", Shell: "/bin/zsh", Line: line}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseLine("a::4294967294:0:::"); err != nil || got.UID != math.MaxUint32-1 || got.Shell != "" {
		t.Errorf("empty fields: %+v, %v", got, err)
	}
	for _, line := range []string{
		"", "dev", "dev:x:1000:100:Dev:/home/dev", line + ":more", ":x:0:0::/:/bin/sh", // whoever had no name would be anybody
		"dev:x::100:::", "dev:x:1000::::", "dev:x:-1:100:::", "dev:x:1000:-1:::", "dev:x:4294967295:100:::", "dev:x:1:4294967295:::", "dev:x:4294967296:100:::", "dev:x:0x10:100:::", "dev:x: 1000:100:::",
	} {
		if got, err := ParseLine(line); err == nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

func TestALineOfGroupIsReadByItsName(t *testing.T) {
	if gid, err := ParseGroup("users:x:100:dev,other", "users"); err != nil || gid != 100 {
		t.Errorf("%d, %v", gid, err)
	}
	for _, line := range []string{"users:x:100", "users:x:100:dev:more", "other:x:100:", "", ":x:0:"} {
		if _, err := ParseGroup(line, "users"); !errors.Is(err, ErrUnknownGroup) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := ParseGroup("users:x:many:", "users"); err == nil || errors.Is(err, ErrUnknownGroup) {
		t.Errorf("a group without a number: %v", err)
	}
}

func TestLinesAreAddedToACopy(t *testing.T) {
	for _, c := range []struct {
		file  string
		lines []string
		want  string
	}{
		{"", []string{"a:b"}, "a:b\n"},
		{"a\n", []string{"b", "c"}, "a\nb\nc\n"},
		{"a", []string{"b"}, "a\nb\n"}, // the last line of a file that lacks its end
		{"a", nil, "a"},
	} {
		file := append(make([]byte, 0, 64), c.file...) // with room in which an append would write
		if got := string(Append(file, c.lines...)); got != c.want || string(file) != c.file || strings.Trim(string(file[:cap(file)][len(file):]), "\x00") != "" {
			t.Errorf("%q and %q: %q; the file is %q", c.file, c.lines, got, file[:cap(file)])
		}
	}
}

func TestAUserIsMeantByNameOrNumber(t *testing.T) {
	who := Entry{Name: "dev", UID: 1000}
	for name, want := range map[string]bool{"dev": true, "1000": true, "01000": false, "+1000": false, "DEV": false, "": false, "100": false} {
		if got := who.Is(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestANamelessUserHasALine(t *testing.T) {
	for _, ids := range [][2]uint32{{0, 0}, {12345, 54321}, {math.MaxUint32 - 1, 1}} {
		who := Nameless(ids[0], ids[1])
		if read, err := ParseLine(who.Line); err != nil || read != who || who.UID != ids[0] || who.GID != ids[1] || who.Home != "/" || who.Shell != "/bin/sh" {
			t.Errorf("%+v is read as %+v, %v", who, read, err)
		}
	}
}

func TestSubordinateIDsAreRead(t *testing.T) {
	for line, want := range map[string]Range{
		"dev:100000:65536":   {100000, 65536},
		"1000:1:1":           {1, 1},
		"dev:1:4294967294":   {1, math.MaxUint32 - 1},
		"dev:4294967294:1":   {math.MaxUint32 - 1, 1},
		"dev:2147483648:100": {1 << 31, 100},
	} {
		name, got, ok := ParseRange(line)
		if whose, _, _ := strings.Cut(line, ":"); !ok || got != want || name != whose {
			t.Errorf("%q: %q, %+v, %v", line, name, got, ok)
		}
	}
	for _, line := range []string{
		"", "# a comment", "dev", "dev:100000", "dev:100000:65536:", ":100000:65536", "dev::65536", "dev:100000:", "dev:-1:5", "dev:1:-5", "dev:x:5",
		"dev:0:65536",           // root's own id
		"dev:100000:0",          // none
		"dev:1:4294967295",      // up to 4294967295, which is no id
		"dev:4294967295:1",      // the same
		"dev:4294967296:1",      // more than an id has bits
		"dev:100000:4294967296", // the same
		"dev:4000000000:4000000000",
	} {
		if name, got, ok := ParseRange(line); ok {
			t.Errorf("%q: %q, %+v", line, name, got)
		}
	}
}

func TestARangeHasItsIDs(t *testing.T) {
	r := Range{100, 10}
	for id, want := range map[uint32]bool{0: false, 99: false, 100: true, 109: true, 110: false, math.MaxUint32: false} {
		if got := r.Has(id); got != want {
			t.Errorf("%d: %v", id, got)
		}
	}
	if last := (Range{math.MaxUint32 - 1, 1}); last.Has(0) || !last.Has(math.MaxUint32-1) {
		t.Error("the last of all ids is not where it is")
	}
}

func TestAnIDOfARangeHasAnOwner(t *testing.T) {
	const known = "root:x:0:0:root:/root:/bin/sh\nbroken\ngroup:x:105:\nlate:x:109:1::/:\nbad:x:-5:0::/:\n"
	for r, want := range map[Range]string{{0, 1}: "root", {100, 10}: "group", {106, 4}: "late", {1, 99}: "", {110, 1000}: ""} {
		if name, found := r.Owner(known); name != want || found != (want != "") {
			t.Errorf("%+v: %q, %v", r, name, found)
		}
	}
}

func TestIDsThatAreSomebodyElsesAreRefused(t *testing.T) {
	r, dev := Range{100000, 65536}, Entry{Name: "dev", UID: 1000}
	for _, c := range []struct{ text, known, want string }{
		{"dev:100000:65536\n", "", ""},
		{"1000:100000:65536\n", "", ""}, // the same user by number
		{"other:165536:65536\nother:34464:65536\n", "", ""},
		{"other:165535:1", "", "partly another user's, see /etc/subuid"},
		{"dev:100000:65536\nother:99999:2\n", "", "partly another user's"},
		{"other:100000\nother:100000:0\n", "", ""},             // lines that count for nobody
		{"#other:100000:65536\n", "", "partly another user's"}, // which shadow takes for a name
		{"", "near:x:99999:0::/:\nfar:x:165536:0::/:\n", ""},
		{"", "daemon:x:165535:0::/:\n", "have the id of daemon"},
	} {
		err := r.Alone(c.text, c.known, SubUIDFile, dev)
		if c.want == "" && err == nil {
			continue
		}
		if c.want == "" || !errors.Is(err, ErrNoRange) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %q", c.text, c.known, err, c.want)
		}
	}
}
