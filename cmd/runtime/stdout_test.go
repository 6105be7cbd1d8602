package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// others are the files that pass standard output on, to a program or to a writer of
// bytes, and check its errors.
var others = map[string]string{"stdout.go": "os.Stdout", "imagesend.go": "os.Stdout", "log.go": "os.Stdout", "cimachine.go": "os.Stdout"}

func TestWhatIsPrintedGoesThroughStdout(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`fmt\.Print(f|ln)?\(|os\.Stdout`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range direct.FindAllString(string(text), -1) {
			if found != others[name] && name != "stdout_test.go" {
				t.Errorf("%s: %s", name, found)
			}
		}
	}
}

func TestAFailedWriteIsTheExitStatus(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, c := range []struct {
		text       string
		code, want int
	}{{"", 0, 0}, {"", 3, 3}, {"a line", 0, 125}, {"a line", 1, 125}} {
		p := &printer{to: full}
		if n, err := p.Write([]byte(c.text)); n != len(c.text) || err != nil {
			t.Errorf("%q: %d, %v", c.text, n, err)
		}
		if got := p.failed(c.code); got != c.want {
			t.Errorf("%q: exit %d, want %d", c.text, got, c.want)
		}
	}
}
