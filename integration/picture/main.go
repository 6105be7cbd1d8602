// Command picture types a session into a terminal and draws what that shows, as SVG:
// picture USER > docs/session.svg, as root, after `make prepare`.
package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/creack/pty"
)

// session is what a developer types, line by line; each is answered before the next.
var session = []string{
	"time runtime run deb12-i386 -- uname -m",
	"uname -m",
	"runtime run deb12-i386 -- gcc -o hello hello.c",
	"runtime run deb12-i386 -- ./hello",
	"ls -l hello",
	"runtime run deb12-i386 -- touch /usr/bin/x; echo exit status $?",
	"runtime shell deb12-i386",
	"uname -m; cat /etc/debian_version; id -un; pwd",
	"exit",
}

// project is where it happens.
const project = `mkdir -p ~/hello && cd ~/hello && rm -f hello && cat > hello.c <<'C'
#include <stdio.h>
#include <sys/utsname.h>
int main(void)
{
	struct utsname name;
	uname(&name);
	printf("hello from a %zu-bit program on %s\n", 8 * sizeof(void *), name.machine);
}
C
`

const columns, lineHeight, characterWidth = 104, 17, 8

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: picture USER"))
	}
	shown, err := play(os.Args[1])
	if err != nil {
		fail(err)
	}
	fmt.Print(draw(shown))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "picture:", err)
	os.Exit(1)
}

// play types the session and returns what the terminal showed.
func play(user string) (string, error) {
	if out, err := exec.Command("su", "-", user, "-c", project).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the project: %w: %s", err, out)
	}
	// Not su, which gives what it starts no terminal.
	cmd := exec.Command("setpriv", "--reuid="+user, "--regid="+user, "--init-groups", "--reset-env", "bash", "--login", "-c", "cd ~/hello; exec bash -i")
	cmd.Env = []string{"TERM=dumb", "PATH=/usr/bin:/bin"}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: columns})
	if err != nil {
		return "", err
	}
	defer terminal.Close()
	var all bytes.Buffer
	for _, line := range append(session, "exit") {
		if err := awaitPrompt(terminal, &all); err != nil {
			return "", fmt.Errorf("%w after:\n%s", err, all.String())
		}
		if _, err := fmt.Fprintln(terminal, line); err != nil {
			return "", err
		}
	}
	text := strings.TrimSpace(all.String())
	return text[:strings.LastIndex(text, "\n")], cmd.Wait() // without the last prompt
}

var prompt = regexp.MustCompile(`@\S+:\S+\$ $`)

func awaitPrompt(terminal *os.File, all *bytes.Buffer) error {
	if err := terminal.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for begun := all.Len(); all.Len() == begun || !prompt.Match(all.Bytes()); {
		n, err := terminal.Read(buffer)
		if err != nil {
			return err
		}
		all.Write(bytes.ReplaceAll(buffer[:n], []byte("\r"), nil))
	}
	return nil
}

// draw makes a picture of text.
func draw(text string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="monospace" font-size="13">`+"\n",
		columns*characterWidth+24, len(lines)*lineHeight+24)
	b.WriteString(`<rect width="100%" height="100%" rx="6" fill="#1d2127"/>` + "\n")
	for i, line := range lines {
		y := 24 + i*lineHeight
		before, typed := "", line
		if found := regexp.MustCompile(`^\S+@\S+:\S+\$ `).FindString(line); found != "" {
			before, typed = found, line[len(found):]
		}
		fmt.Fprintf(&b, `<text x="12" y="%d" fill="#d7dae0" xml:space="preserve"><tspan fill="#8fbf7f">%s</tspan>%s</text>`+"\n", y, html.EscapeString(before), html.EscapeString(typed))
	}
	return b.String() + "</svg>\n"
}
