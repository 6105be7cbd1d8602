package launch

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"mayfly/integration/kit"
)

func onTerminal(t *testing.T, args ...string) *kit.Terminal {
	t.Helper()
	return kit.OnTerminal(t, kit.User, kit.As(t, kit.User, args...))
}

func TestShellOnATerminal(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "shell", kit.Image)
	before := m.Before
	m.Await("^] three times: kill\r\n")
	m.Await("$ ")
	m.Type("tty; stty size; echo $0\n")
	m.Await("/dev/pts/0")
	m.Await("33 111")
	m.Await("-bash")
	if err := pty.Setsize(m.Master, &pty.Winsize{Rows: 44, Cols: 122}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	m.Type("stty size\n")
	m.Await("44 122")
	m.Type("sleep 60\n")
	time.Sleep(100 * time.Millisecond)
	m.Type("\x03")
	m.Type("echo status $?\n")
	m.Await("status 130")
	m.Type("sleep 61\n")
	time.Sleep(100 * time.Millisecond)
	m.Type("\x1a")
	m.Await("Stopped")
	m.Type("exit 5\nexit 5\n")
	if code := m.Wait(); code != 5 {
		t.Errorf("exit %d, want 5", code)
	}
	m.Await("failed with error code 5.")
	if after := m.Modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
	kit.NothingLeft(t)
}

func TestEscapeKillsTheContainer(t *testing.T) {
	m := onTerminal(t, kit.NspawnRun, "-n", kit.Image, "sh", "-c", "trap '' INT TERM HUP; echo ready; while :; do sleep 1; done")
	before := m.Before
	m.Await("ready")
	m.Type("\x1d\x1d\x1d")
	if code := m.Wait(); code != 137 {
		t.Errorf("exit %d, want 137", code)
	}
	m.Await("terminated by signal KILL.")
	if after := m.Modes(); after.Lflag != before.Lflag {
		t.Error("the terminal stays in raw mode")
	}
	kit.NothingLeft(t)
}

func TestTerminalIsRestoredAfterASignal(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "run", kit.Image, "sh", "-c", "echo ready; sleep 60")
	before := m.Before
	m.Await("ready")
	_ = m.Cmd.Process.Signal(syscall.SIGTERM)
	if code := m.Wait(); code != 143 {
		t.Errorf("exit %d, want 143", code)
	}
	if after := m.Modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
}

func TestShortCommandsOutputIsShownWhole(t *testing.T) {
	for range 5 {
		m := onTerminal(t, kit.Runtime, "run", "--quiet", kit.Image, "seq", "20000")
		m.Wait()
		m.Await("19999\r\n20000\r\n")
	}
}

func TestNothingInsidePushesInputIntoTheTerminal(t *testing.T) {
	// TIOCSTI and TIOCLINUX by their numbers, on the container's terminal and, with
	// --no-tty, on the user's own.
	script := `printf '#include <sys/ioctl.h>\n#include <stdio.h>\nint main(void) { char c = 33; int r = ioctl(0, 0x5412, &c); ` +
		`char l[2] = {2}; printf("results %%d %%d\\n", r, ioctl(0, 0x541c, l)); }' > /tmp/a.c && gcc -o /tmp/a /tmp/a.c && /tmp/a`
	for _, flag := range []string{"--tty", "--no-tty"} {
		m := onTerminal(t, kit.Runtime, "run", "--quiet", flag, kit.Image, "sh", "-c", script)
		m.Await("results -1 -1")
		if code := m.Wait(); code != 0 {
			t.Errorf("%s: exit %d: %s", flag, code, m.Shows())
		}
	}
}

// What uses the whole screen, by a program that needs nothing of the image.
func TestFullScreenProgramsOnATerminal(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "shell", "--bind-ro", "/bin/busybox:/mnt/busybox", kit.Image)
	before := m.Before
	m.Await("$ ")
	m.Type("stty -a > /tmp/before; /mnt/busybox vi /tmp/text\n")
	m.Await("- /tmp/text 1/1")
	m.Type("ifirst line\x1b")
	time.Sleep(200 * time.Millisecond) // else it is the beginning of a key's code
	m.Type(":wq\n")
	m.Await("\x1b[?1049l")
	m.Type("cat /tmp/text; seq 500 | /mnt/busybox less\n")
	m.Await("\r\nfirst line\r\n")
	m.Await("standard input")
	m.Type("q")
	m.Type("stty -a > /tmp/after; cmp /tmp/before /tmp/after && echo the same; exit\n")
	m.Await("\r\nthe same\r\n")
	if code := m.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if after := m.Modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
	kit.NothingLeft(t)
}

// A job that a shell starts in the background is stopped when it was told to have a
// terminal, and goes on in the foreground.
func TestStartedInTheBackground(t *testing.T) {
	m := onTerminal(t, "bash", "--norc", "-i")
	m.Await("$ ")
	m.Type(kit.Runtime + " run --tty --quiet " + kit.Image + " sh -c 'read line; echo got $line; exit 6' &\n")
	m.Await("[1]")
	m.Type("until jobs | grep Stopped; do sleep 0.1; done\n")
	m.Await("\n[1]+  Stopped")
	m.Type("fg\n")
	time.Sleep(kit.Within(200 * time.Millisecond))
	m.Type("typed\n")
	m.Await("\r\ngot typed\r\n")
	time.Sleep(kit.Within(200 * time.Millisecond)) // what is typed before its end is the container's
	m.Type("echo status $?\n")
	m.Await("\r\nstatus 6\r\n")
	// What wants no terminal runs on there.
	m.Type(kit.Runtime + " run --quiet " + kit.Image + " sh -c 'echo in; sleep 0.1; echo the background' < /dev/null &\n")
	m.Await("\r\nthe background")
	m.Type("wait; exit\n")
	m.Wait()
	kit.NothingLeft(t)
}

func TestHangUp(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "shell", kit.Image)
	m.Await("$ ")
	m.HangUp()
	if code := m.Wait(); code != 128+int(syscall.SIGHUP) {
		t.Errorf("exit %d", code)
	}
	// Who ignores the signal reads nothing any more.
	m = onTerminal(t, kit.Runtime, "run", kit.Image, "sh", "-c", "trap '' HUP; echo ready; cat; exit 4")
	m.Await("ready\r\n")
	m.HangUp()
	if code := m.Wait(); code != 4 {
		t.Errorf("exit %d, want 4", code)
	}
	kit.NothingLeft(t)
}

// A shell says at the beginning what a newcomer must know, and at the end nothing if it
// went well.
func TestWhatAShellSays(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "shell", kit.Image)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	m := kit.OnTerminal(t, kit.User, cmd)
	m.Await("$ ")
	m.Type("hostname; echo \"in $MAYFLY_IMAGE, $MAYFLY_CONTAINER\"; exit 0\n")
	if code := m.Wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	shown := m.Shows()
	for _, want := range []string{"for apt or sudo: --root", "\x1b]0;" + kit.Image, "\x1b[23;0t", "\r" + kit.Image + "\r\n", "in " + kit.Image, ", " + kit.Image + "-"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %q", want, shown)
		}
	}
	for _, unwanted := range []string{"Spawning", "exited successfully"} {
		if strings.Contains(shown, unwanted) {
			t.Errorf("%q in %q", unwanted, shown)
		}
	}
	// A build on a terminal says nothing by itself.
	m = onTerminal(t, kit.Runtime, "run", kit.Image, "true")
	if m.Wait(); m.Shows() != "" {
		t.Errorf("%q", m.Shows())
	}
	kit.NothingLeft(t)
}
