// Package vm tests on machines of their own: on other kernels, with systemd, with
// control groups that nobody else has, and when the power goes.
package vm

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A Machine is a virtual machine under qemu, emulated in software where the hardware's
// virtualization is not to be had, with a distribution's kernel and systemd.
type Machine struct {
	Suite   string
	what    string // its system, kernel and systemd
	cmd     *exec.Cmd
	port    net.Conn // to the agent inside
	answers *bufio.Reader
	console *console
	results []result
}

// A Disk is a file that the machine sees as /dev/vdX, in the order of the list.
type Disk struct {
	Path   string
	Format string // raw or qcow2
	Kept   bool   // what is written is written to the file; else it goes with the machine
}

// console keeps what the machine says, for when it does not come up.
type console struct {
	sync.Mutex
	bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.Lock()
	defer c.Unlock()
	return c.Buffer.Write(p)
}

func (c *console) text() string {
	c.Lock()
	defer c.Unlock()
	return c.String()
}

// end is the last of it: a kernel that panics says why.
func (c *console) end() string {
	const enough = 4096
	text := c.text()
	return text[max(0, len(text)-enough):]
}

const (
	// bootWithin bounds the time from the start to the agent's first word. Emulation
	// takes half a minute; other machines may be at work.
	bootWithin = 4 * time.Minute
	// speakWithin bounds the time from the start to the kernel's first word, after some
	// seconds as a rule.
	speakWithin = time.Minute
	// bootTries is how often a machine is started that does not come up: under
	// emulation a kernel sometimes stops before its first word, and nothing of ours has
	// been run by then.
	bootTries = 5
)

// Boot starts a machine of a suite and waits until systemd has started the agent. The
// disks come after the root file system, which is thrown away unless the first of them
// says what else to use.
func Boot(t testing.TB, suite string, root Disk, disks ...Disk) *Machine {
	t.Helper()
	directory := Prepare(t, suite)
	if root.Path == "" {
		root = Disk{Path: filepath.Join(directory, "root.img"), Format: "raw"}
	}
	var m *Machine
	for try := 1; m == nil; try++ {
		var err error
		if m, err = bootOnce(t, suite, directory, append([]Disk{root}, disks...)); err != nil && try == bootTries {
			t.Fatal(err)
		} else if err != nil {
			t.Logf("try %d: %v", try, err)
		}
	}
	if len(disks) > 0 {
		m.Must(t, "systemctl start var-lib-machines.mount") // it may be on its way
	}
	return m
}

// sameAddresses has all programs of a machine at the same addresses: what the emulator
// has translated for one process serves the next, and a program is started in a third
// of the time.
const sameAddresses = "norandmaps"

// processor is one with few features, since all that a newer one keeps of each process
// is emulated, too; and of a maker whose kernels need not hide themselves from
// processes. Both together make a launch 1.6 times as fast as "max" does, with the
// clock that needs no device (tsc).
const processor = "Nehalem,vendor=AuthenticAMD"

// bootOnce starts a machine and waits for it.
func bootOnce(t testing.TB, suite, directory string, disks []Disk) (*Machine, error) {
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	kit.Must(t, err)
	defer listener.Close()
	args := []string{"-M", "q35", "-accel", "tcg,thread=multi", "-cpu", processor, "-m", "3072", "-smp", "2", "-nographic", "-no-reboot",
		"-kernel", filepath.Join(directory, "vmlinuz"), "-initrd", filepath.Join(directory, "initrd"),
		"-append", "console=ttyS0 root=/dev/vda rw panic=-1 loglevel=6 net.ifnames=0 systemd.show_status=false tsc=reliable clocksource=tsc " + sameAddresses,
		"-nic", "user,model=virtio-net-pci", "-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,path=" + socket, "-device", "virtserialport,chardev=agent,name=agent"}
	for _, d := range disks {
		args = append(args, "-drive", d.argument())
	}
	m := &Machine{Suite: suite, cmd: exec.Command("qemu-system-x86_64", args...), console: &console{}}
	m.cmd.Stdout, m.cmd.Stderr = m.console, m.console
	kit.Must(t, m.cmd.Start())
	t.Cleanup(m.Kill)
	kit.Must(t, listener.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)))
	if m.port, err = listener.Accept(); err != nil {
		return nil, fmt.Errorf("qemu does not come: %w\n%s", err, m.console.text())
	}
	m.answers = bufio.NewReader(m.port)
	kit.Must(t, m.port.SetReadDeadline(time.Now().Add(bootWithin)))
	silent := time.AfterFunc(speakWithin, func() {
		if !strings.Contains(m.console.text(), "Linux version") {
			_ = m.port.SetReadDeadline(time.Now())
		}
	})
	defer silent.Stop()
	for line := ""; line != "== ready\n"; {
		if line, err = m.answers.ReadString('\n'); err != nil {
			m.Kill()
			return nil, fmt.Errorf("%s does not come up: %w\n%s", suite, err, m.console.text())
		}
	}
	return m, nil
}

func (d Disk) argument() string {
	if d.Kept {
		return fmt.Sprintf("file=%s,format=%s,if=virtio,cache=writeback", d.Path, d.Format)
	}
	return fmt.Sprintf("file=%s,format=%s,if=virtio,cache=unsafe,snapshot=on", d.Path, d.Format)
}

// Prepare makes the disk of a suite where it is not there yet, and returns its
// directory.
func Prepare(t testing.TB, suite string) string { return prepared(t, "./prepare", suite) }

// prepared runs a script that makes a disk, and returns its answer, an absolute path.
// One runs at a time on this machine.
func prepared(t testing.TB, script ...string) string {
	t.Helper()
	path := strings.TrimSpace(command(t, ".", append([]string{"flock", "/var/cache"}, script...)...))
	if !filepath.IsAbs(path) || strings.Contains(path, "\n") {
		t.Fatalf("%q answers %q, want a path", script, path)
	}
	return path
}

// ErrGone is a machine that ended in the middle of a script.
var ErrGone = errors.New("the machine has ended")

// await is a function of all scripts: it waits until a container runs.
const await = `await() {
	for i in $(seq 300); do runtime exec "$1" true 2>/dev/null && return; sleep 0.2; done
	echo "$1 does not run"; return 1
}
`

// Do runs a shell script as root inside and returns what it wrote, both streams
// together, and its exit status. Each line is also handed to see, as it comes, where
// see is not nil.
func (m *Machine) Do(script string, within time.Duration, see func(line string)) (out string, code int, err error) {
	if err := m.port.SetDeadline(time.Now().Add(within)); err != nil {
		return "", 0, err
	}
	if _, err := fmt.Fprintln(m.port, base64.StdEncoding.EncodeToString([]byte(await+script))); err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrGone, err)
	}
	var all strings.Builder
	for {
		line, err := m.answers.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return all.String(), 0, fmt.Errorf("%w; the last it said:\n%s", ErrGone, m.console.end())
		}
		if err != nil {
			return all.String(), 0, fmt.Errorf("%s: no answer within %v: %w", m.Suite, within, err)
		}
		if status, ok := strings.CutPrefix(line, "== end "); ok {
			code, err := strconv.Atoi(strings.TrimSpace(status))
			return strings.TrimSuffix(all.String(), "\n"), code, err
		}
		all.WriteString(line)
		if see != nil {
			see(strings.TrimSuffix(line, "\n"))
		}
	}
}

// Must runs a script that must succeed.
func (m *Machine) Must(t testing.TB, script string) string {
	t.Helper()
	out, code, err := m.Do(script, 20*time.Minute, nil)
	if err != nil || code != 0 {
		t.Fatalf("%s: %s: exit %d, %v:\n%s\nconsole:\n%s", m.Suite, script, code, err, out, m.console.text())
	}
	return out
}

// Kill is a power cut: what the machine had not written to its disks is lost.
func (m *Machine) Kill() {
	if m.cmd.ProcessState == nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
	if m.port != nil {
		m.port.Close()
	}
}
