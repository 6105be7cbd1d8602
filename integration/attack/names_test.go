package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// hostileNames are what no image, container or host has for a name.
var hostileNames = []string{"", ".", "..", "a/b", "/etc", "../../etc", strings.Repeat("x", 4096), strings.Repeat("x", 65), "a\nb", "\x1b[2J\x1b]0;x\a", ".#machine.x",
	".mayfly", "-n", "--help", "ｄeb12-i386", "deb12\u2010i386", "deb12-i386\u202e", "deb12-i386 ", " deb12-i386", "\xff\xfe", "a\tb", "a:b", "*", "~root", "$(id)", "%s%n", "con\x7f"}

func TestC11ImageNames(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, name := range hostileNames {
			if strings.HasPrefix(name, "-") {
				name = "./" + name // what a flag looks like is a flag
			}
			refused(t, fmt.Sprintf("image %q", name), w.run(t, "run", name, "true"), "image")
			refused(t, fmt.Sprintf("shell %q", name), w.run(t, "shell", name), "image")
		}
		refused(t, "a flag for a name", w.run(t, "run", "-n", "true"), "flag")
	})
}

func TestC12ContainerAndHostNames(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, name := range hostileNames {
			if name != "" { // which is as if nothing were given
				refused(t, fmt.Sprintf("container %q", name), w.run(t, "run", "--name", name, kit.Image, "true"), "container name")
			}
		}
		for _, name := range append(hostileNames, "a_b", "-a", "a-", "a..b", ".a", "a.", strings.Repeat("a", 64)+".b", strings.Repeat("a", 64)) {
			if name != "" {
				refused(t, fmt.Sprintf("hostname %q", name), w.run(t, "run", "--hostname", name, kit.Image, "true"), "hostname")
			}
		}
	})
}

func TestC18OtherUsers(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		_, other, _ := kit.Lookup(t, kit.Other)
		for _, user := range []string{"root", "0", "00", "+0", "0x0", "-0", fmt.Sprint(other), kit.Other, "4294967295", "4294967296", "-1", "18446744073709551616", "nobody",
			"_apt", "root\n", " root", "root:x", "#0", "\x1b[0m"} {
			r := w.run(t, "run", "--user", user, kit.Image, "id", "-u")
			refused(t, fmt.Sprintf("user %q", user), r, "")
		}
		// A user whom only the image knows is nobody here.
		kit.Change(t, "attack-user", "echo 'ghost:x:0:0::/:/bin/sh' >>etc/passwd")
		refused(t, "the image's user", w.run(t, "run", "--user", "ghost", "attack-user", "id"), "unknown user")
	})
}

func TestC26NothingSpeaksToTheTerminal(t *testing.T) {
	const evil = "\x1b]0;owned\a\x1b[31m\r\n\u009b2J\u202e\xff"
	each(t, func(t *testing.T, w way) {
		for _, args := range [][]string{
			{evil}, {"run", evil, "true"}, {"run", kit.Image, evil}, {"run", kit.Image, "/" + evil}, {"run", "--" + evil, kit.Image}, {"run", "--bind", "/" + evil, kit.Image, "true"},
			{"run", "--bind", "/tmp:/" + evil + "/..", kit.Image, "true"}, {"run", "--chdir", evil, kit.Image, "true"}, {"run", "--chdir", "/" + evil, kit.Image, "true"},
			{"run", "--tmpfs", "/mnt:" + evil, kit.Image, "true"}, {"run", "--env", "=" + evil, kit.Image, "true"}, {"run", "--user", evil, kit.Image, "true"}, {"run", "--name", evil, kit.Image, "true"},
			{"run", "--hostname", evil, kit.Image, "true"}, {"run", "--personality", evil, kit.Image, "true"}, {"run", "--timeout", evil, kit.Image, "true"}, {"image", evil}, {"policy", "check", evil},
			{"policy", "explain", evil}, {"policy", "explain", "--user", evil, kit.Image}, {"policy", "import", "/" + evil}, {"grant", "--check", evil},
		} {
			r := w.run(t, args...)
			if r.Code < 125 || r.Code > 127 {
				t.Errorf("%q: %+v", args, r)
			}
			for _, c := range r.Err + r.Out {
				if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c == 0x202e {
					t.Errorf("%q: %q in %q", args, c, r.Err)
					break
				}
			}
		}
		// A working directory with such a name is told of.
		dir := filepath.Join(home(t, kit.User), "sub\x1b[31m\n")
		kit.Must(t, os.Mkdir(dir, 0o755))
		rule(t, "[[rule]]\nimages=[\"*\"]\nbind=[]\nallow-bind=[\"/\"]\nbind-cwd=false\nbind-home=false\n")
		cmd := w.cmd(t, "shell", "--quiet", "--no-tty", kit.Image)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("true\n")
		r := kit.Do(t, cmd)
		if r.Code != 0 || strings.Count(r.Err, "\n") != 1 || strings.Contains(r.Err, "\x1b") {
			t.Errorf("the note on the working directory: %+v", r)
		}
	})
}

func TestC27EnvironmentEntries(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		r := w.run(t, "run", "--env", "A=x\ny=z", "--env", "B=1", "--env", "B=2", kit.Image, "sh", "-c", `echo "$A|$B"; env | grep -c ^B=`)
		if r.Out != "x\ny=z|2\n1\n" {
			t.Errorf("newline and duplicates: %+v", r)
		}
		refused(t, "no name", w.run(t, "run", "--env", "=x", kit.Image, "true"), "has no name")
		refused(t, "nothing", w.run(t, "run", "--env", "", kit.Image, "true"), `--env ""`)
		if w.name == "sudo" {
			return // what it lets through is its own affair
		}
		cmd := w.cmd(t, "run", "--env-all", kit.Image, "sh", "-c", "env | wc -c; env | grep -c ^DUPLICATE=")
		for i := range 16 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("BIG%d=%s", i, strings.Repeat("x", 120000)))
		}
		cmd.Env = append(cmd.Env, "=first", "DUPLICATE=1", "noequals")
		if r := kit.Do(t, cmd); r.Code != 0 || len(r.Out) < 7 {
			t.Errorf("two megabytes: %+v", r)
		}
	})
}

func TestC28Commands(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for name, text := range map[string]string{"noexec": "#!/bin/sh\n", "nointerpreter": "#!/nosuch/interpreter\n", "text": "echo no interpreter line\n", "empty": "", "binary": "text\x00", "loop": "#!" + dir + "/loop\n",
			// No architecture has the number 0xcafe, so no emulator is registered for
			// it.
			"elf": "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\xfe\xca" + strings.Repeat("\x00", 44)} {
			write(t, filepath.Join(dir, name), text)
			if name != "noexec" {
				kit.Must(t, os.Chmod(filepath.Join(dir, name), 0o755))
			}
		}
		for _, c := range []struct {
			command string
			code    int
		}{
			{"./noexec", 126}, {dir + "/noexec", 126}, {dir + "/nointerpreter", 126}, {dir + "/text", 0}, {dir + "/empty", 0}, {dir + "/loop", 126}, {dir + "/elf", 126}, {dir + "/binary", 126},
			{dir, 126}, {"/", 126}, {"/etc/passwd", 126}, {"nosuch", 127}, {"./nosuch", 127}, {"/nosuch", 127}, {"", 127}, {"/etc/passwd/x", 127},
			{"/" + strings.Repeat("x/", 2100), 127}, {strings.Repeat("x", 300), 127}, {"../../../../../../bin/true", 0}, {"/dev/null", 126}, {"/proc/self/mem", 126},
		} {
			cmd := w.cmd(t, "run", kit.Image, c.command)
			cmd.Dir = dir
			r := kit.Do(t, cmd)
			if r.Code != c.code || c.code != 0 && strings.Count(r.Err, "\n") != 1 {
				t.Errorf("%.60q: %+v, want exit %d and one line", c.command, r, c.code)
			}
		}
		r := w.run(t, append([]string{"run", kit.Image, "true"}, make([]string, 9000)...)...)
		if r.Code != 0 {
			t.Errorf("9000 empty arguments: %+v", r)
		}
	})
}
