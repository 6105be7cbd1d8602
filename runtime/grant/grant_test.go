package grant

import (
	"testing"
)

func TestTheAttributeSurvivesTheWay(t *testing.T) {
	for _, set := range []uint64{0, 1 << 21, 1<<40 | 1<<6, 1<<41 - 1} {
		if got, err := decode(encode(set)); err != nil || got != set {
			t.Errorf("%x becomes %x, %v", set, got, err)
		}
	}
	revision3 := append(encode(1), 0, 0, 0, 0)
	revision3[3] = 3
	for _, data := range [][]byte{nil, {0}, revision3, revision3[:size2]} {
		if _, err := decode(data); err == nil {
			t.Errorf("%x is read", data)
		}
	}
}

func TestOnlyRootsFilesAreGranted(t *testing.T) {
	if err := Apply("relative", FileCapabilities, EveryUser, 1); err == nil {
		t.Error("a relative path is granted")
	}
	// A temporary directory is below one that everybody can write to.
	if err := Apply(t.TempDir()+"/file", FileCapabilities, EveryUser, 1); err == nil {
		t.Error("a file below a writable directory is granted")
	}
}

func TestACommandLineOfAUnitIsReadAsItIs(t *testing.T) {
	got := commandLine([]string{"/usr/bin/runtime", "a b", `"`, `\`, "%n", "$HOME", "a\nb", "--x=é"})
	if want := `"/usr/bin/runtime" "a b" "\"" "\\" "%%n" "$$HOME" "a\nb" "--x=é"`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
