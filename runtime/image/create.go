package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"mayfly/personality"
)

// A Bootstrap says how to fill an image with a Debian release.
type Bootstrap struct {
	Suite   string
	Arch    string // Debian's name
	Variant string
	Include []string
	Mirror  string
	// Components of the distribution; empty: main.
	Components []string
	Sources    []string  // further lines for apt's sources.list
	Output     io.Writer // progress of the program
}

// HostArch is Debian's name of the machine.
func HostArch() string {
	for _, name := range personality.Names() {
		if a, err := personality.ByName(name); err == nil && a.Go == goruntime.GOARCH {
			return a.Debian
		}
	}
	return goruntime.GOARCH
}

func (b Bootstrap) check() error {
	if b.Suite == "" {
		return errors.New("no --suite given")
	}
	for _, word := range slices.Concat([]string{b.Suite, b.Arch, b.Variant, b.Mirror}, b.Include, b.Components) {
		if word == "" || word[0] == '-' || strings.ContainsAny(word, " \t\n\x00") {
			return fmt.Errorf("%q is not a word that mmdebstrap or debootstrap could take", word)
		}
	}
	for _, line := range b.Sources {
		if !strings.HasPrefix(line, "deb ") && !strings.HasPrefix(line, "deb-src ") || strings.ContainsAny(line, "\n\x00") {
			return fmt.Errorf("source %q: want a line of apt's sources.list, \"deb URL SUITE COMPONENT\"", line)
		}
	}
	return nil
}

// programs are the bootstrap programs, the quicker one first.
var programs = []struct {
	name      string
	sources   bool // it takes further lines of sources.list
	arguments func(b Bootstrap, directory string) []string
}{
	{"mmdebstrap", true, func(b Bootstrap, directory string) []string {
		return slices.Concat(b.common("--architectures="), []string{b.Suite, directory, b.Mirror}, b.Sources)
	}},
	{"debootstrap", false, func(b Bootstrap, directory string) []string {
		return append(b.common("--arch="), b.Suite, directory, b.Mirror)
	}},
}

func (b Bootstrap) common(arch string) []string {
	arguments := []string{arch + b.Arch, "--variant=" + b.Variant}
	if len(b.Include) > 0 {
		arguments = append(arguments, "--include="+strings.Join(b.Include, ","))
	}
	if len(b.Components) > 0 {
		arguments = append(arguments, "--components="+strings.Join(b.Components, ","))
	}
	return arguments
}

// alone are the arguments of unshare(1) for a bootstrap program: its processes and its mounts end with it, whatever it was at.
// By itself mmdebstrap would finish its step first, a download perhaps.
var alone = []string{"--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--"}

// Bootstrap fills a draft with a Debian release. It runs the first program that is installed. When we are interrupted all its
// processes get a SIGTERM, and time to remove their temporary files; when we are killed, they are too.
func (d *Draft) Bootstrap(ctx context.Context, b Bootstrap) error {
	if err := b.check(); err != nil {
		return err
	}
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		if err != nil {
			continue
		}
		if len(b.Sources) > 0 && !p.sources {
			return fmt.Errorf("sources: %s does not take any: apt-get install mmdebstrap", p.name)
		}
		cmd := exec.CommandContext(ctx, "unshare", slices.Concat(alone, []string{path}, p.arguments(b, d.Path))...)
		cmd.Stdout, cmd.Stderr = b.Output, b.Output
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.WaitDelay = 20 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		goruntime.LockOSThread() // it is this thread whose death sends the signal
		err = cmd.Run()
		goruntime.UnlockOSThread()
		if err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted, nothing is left of it")
			}
			return fmt.Errorf("%s failed (%w), nothing is left of it", p.name, err)
		}
		return nil
	}
	return errors.New("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")
}
