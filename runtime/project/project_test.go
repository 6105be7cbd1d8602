package project

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
)

const example = `# what this is built in
image = "deb12-i386@sha256:0123456789ab" # pinned

bind-ro = ["/opt/sdk", "../shared:/shared", '~/.cache/ccache']
network = "none"
root = true

[env]
CC = "gcc-12"
"A.B" = "x=y"

[limits]
memory = "4G"
tasks = 2_000
cpus = 1.5
timeout = "30m"

[commands]
build = "./configure && make"
check = ["make", "check it's"]
all = {steps = ["build", "check"]}
`

func TestTheSettingsAreFlags(t *testing.T) {
	t.Setenv("HOME", "/home/user")
	p, err := Parse("/srv/a:b/mayfly.toml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Settings {
		got = append(got, fmt.Sprintf("%d --%s=%s", s.Line, s.Flag, s.Value))
	}
	want := []string{"4 --bind-ro=/opt/sdk", `4 --bind-ro=/srv/a\:b/../shared:/shared`, "4 --bind-ro=/home/user/.cache/ccache", "5 --network=none", "6 --root=true",
		"9 --env=CC=gcc-12", "10 --env=A.B=x=y", "13 --memory=4G", "14 --tasks=2000", "15 --cpus=1.5", "16 --timeout=30m"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if p.Image.String() != "deb12-i386@sha256:0123456789ab" || p.ImageLine() != 2 || p.Dir() != "/srv/a:b" {
		t.Errorf("%+v", p)
	}
	for name, want := range map[string][]string{
		"build": {"/bin/sh", "-ec", "./configure && make"},
		"check": {"make", "check it's"},
		"all":   {"/bin/sh", "-ec", "'/bin/sh' '-ec' './configure && make'\n'make' 'check it'\\''s'"},
	} {
		if got, err := p.Command(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := p.Command("nothing"); err == nil || !strings.Contains(err.Error(), "build, check, all") {
		t.Error(err)
	}
	text, err := p.WithImage(ref.Reference{Name: "other", Tag: "stable"})
	if want := strings.Replace(example, "deb12-i386@sha256:0123456789ab", "other@stable", 1); err != nil || text != want {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMistakesHaveTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"image = 1":                             ":1: image: want a text in quotes",
		"\nimage = \"a b\"":                     ":2: image: image name",
		"image = \"a@sha256:xyz\"":              ":1: image: image a: digest",
		"image = \"a\"\nimage = \"b\"":          ":2: image is there twice",
		"imgae = \"a\"":                         ":1: imgae: there is no such setting; did you mean image?",
		"bind = \"/x\"":                         ":1: bind: want a list of texts",
		"bind = [\"/x\", 1]":                    ":1: bind: want a list of texts",
		"bind = [\"/x:relative\"]":              ":1: bind: bind",
		"bind = [\"\"]":                         ":1: bind: \"\": want some text",
		"bind = [\":/x\"]":                      ":1: bind: bind \":/x\": the source is empty",
		"tmpfs = [\"/x:size=much\"]":            ":1: tmpfs:",
		"root = \"yes\"":                        ":1: root: want true or false",
		"network = \"\"":                        ":1: network: \"\": want some text",
		"[limits]\nmemory = \"much\"":           ":2: limits.memory: \"much\" is not a size",
		"limits = {memory = \"4G\", tasks = 0}": ":1: limits.tasks: want a number above 0",
		"limits = {memory = \"4G\"}\n[limits]":  ":2: [limits] is there twice",
		"[limits]\ncpus = nan":                  ":2: limits.cpus: want a number",
		"[limits]\ntasks = 1.5":                 ":2: limits.tasks: want a whole number",
		"[limits]\ntimeout = \"soon\"":          ":2: limits.timeout: \"soon\": want a time",
		"\"limits.memory\" = \"4G\"":            ":1: limits.memory: there is no such setting",
		"[env]\nA = 1":                          ":2: env.A: want a text",
		"[env]\n\"A=B\" = \"1\"":                ":2: env.A=B: no name",
		"[env.A]\nx = \"1\"":                    ":1: unknown table [env.A]",
		"[other]":                               ":1: unknown table [other]",
		"[[commands]]":                          ":1: unknown list of tables",
		"[commands]\na = 1":                     ":2: commands.a: want a text for the shell",
		"[commands]\na = \"\"":                  ":2: commands.a: it is empty",
		"[commands]\na = []":                    ":2: commands.a: it is empty",
		"[commands]\n\"a b\" = \"x\"":           ":2: commands.a b: command name",
		"[commands]\na = {steps = [\"b\"]}":     ":2: commands.a: there is no command \"b\", it has a",
		"[commands]\na = {steps = [\"a\"]}":     ":2: commands.a: its steps lead back to it: a, a",
		"[commands]\na = {steps = [\"b\"]}\nb = {steps=[\"a\"]}": ":3: commands.b: its steps lead back to it: a, b, a",
		"[commands]\na = \"x\"\n[commands.a]\nsteps=[\"a\"]":     ":4: commands.a.steps: the command is there twice",
		"[commands]\na = {step = [\"a\"]}":                       ":2: commands.a.step: there is no such setting",
		"image = \"a\"\nbind = [":                                ":",
		"image":                                                  ":1: ",
		"a = \"\x00\"":                                           ":1: ",
	} {
		_, err := Parse("/p/mayfly.toml", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "/p/mayfly.toml"+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Steps of steps of steps: the text is short, the command would not be.
func TestStepsDoNotMultiply(t *testing.T) {
	text := "[commands]\na0 = \"true\"\n"
	for i := range 60 {
		text += fmt.Sprintf("a%d = {steps = [\"a%d\", \"a%d\"]}\n", i+1, i, i)
	}
	if _, err := Parse("/p/mayfly.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), "with all its steps it is longer than") {
		t.Error(err)
	}
}

func TestOnlyAFileOfTheCallersIsRead(t *testing.T) {
	write := func(text string, mode os.FileMode) func(string) error {
		return func(name string) error {
			return cmpErr(os.WriteFile(name, []byte(text), 0o600), os.Chmod(name, mode))
		}
	}
	for want, make := range map[string]func(string) error{
		"":                      write(`image = "a"`, 0o644),
		"everybody can write":   write(`image = "a"`, 0o666),
		"it is a symbolic link": func(name string) error { return os.Symlink("/etc/passwd", name) },
		"it is no regular file": func(name string) error { return unix.Mkfifo(name, 0o666) },
		"the most is":           func(name string) error { return cmpErr(os.WriteFile(name, nil, 0o600), os.Truncate(name, 1<<30)) },
		"no regular file":       func(name string) error { return os.Mkdir(name, 0o700) },
		"it is a socket":        func(name string) error { return unix.Mknod(name, unix.S_IFSOCK|0o666, 0) },
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, FileName)
		if err := make(name); err != nil {
			t.Fatal(err)
		}
		below := filepath.Join(dir, "a", "b")
		if err := os.MkdirAll(below, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(below)
		p, err := Find()
		if want == "" {
			if err != nil || p.File != name {
				t.Errorf("%+v, %v", p, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("[commands]\na = {steps = [\"b\"]}\nb = 'x'")
	f.Add("env = {A = \"1\"}\nlimits.memory = \"1\"")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("/p/mayfly.toml", []byte(text))
		if err != nil {
			return
		}
		for _, name := range p.Commands() {
			if args, err := p.Command(name); err != nil || len(args) == 0 || args[0] == "" {
				t.Errorf("%q: command %s: %q, %v", text, name, args, err)
			}
		}
		for _, s := range p.Settings {
			if s.Line < 1 || s.Line > 1+strings.Count(text, "\n") || strings.IndexByte(s.Value, 0) >= 0 {
				t.Errorf("%q: %+v", text, s)
			}
		}
		if p.Image.Name == "" {
			return
		}
		pinned, err := p.WithImage(ref.Reference{Name: "other", Digest: "0123456789ab"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("/p/mayfly.toml", []byte(pinned))
		if err != nil || again.Image.String() != "other@sha256:0123456789ab" || len(again.Settings) != len(p.Settings) {
			t.Errorf("%q becomes %q: %+v, %v", text, pinned, again, err)
		}
	})
}
