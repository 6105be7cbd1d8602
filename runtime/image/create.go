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
	arguments func(b Bootstrap, directory string) []string
}{
	{"mmdebstrap", func(b Bootstrap, directory string) []string {
		return slices.Concat(b.common("--architectures="), []string{b.Suite, directory, b.Mirror}, b.Sources)
	}},
	{"debootstrap", func(b Bootstrap, directory string) []string {
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

// Bootstrap fills a draft with a Debian release. It runs the first program that is installed. When we are interrupted it gets
// a SIGTERM, to unmount what it has mounted, and time for it; when we are killed, too.
func (d *Draft) Bootstrap(ctx context.Context, b Bootstrap) error {
	if err := b.check(); err != nil {
		return err
	}
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, p.arguments(b, d.Path)...)
		cmd.Stdout, cmd.Stderr = b.Output, b.Output
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 20 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
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
