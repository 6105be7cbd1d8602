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

	"golang.org/x/sys/unix"

	"mayfly/personality/arch"
)

// A Bootstrap describes the Debian release with which to fill an image.
type Bootstrap struct {
	Suite   string
	Arch    string // Debian's name
	Variant string
	Include []string
	Mirror  string
	// Components of the distribution; empty: main.
	Components []string
	Sources    []string  // additional lines for apt's sources.list
	Updates    []string  // the same, but left out for programs that do not take them
	AptOptions []string  // NAME=VALUE, kept in the image's apt.conf.d
	Output     io.Writer // progress of the program
}

// HostArch returns Debian's name of this machine's architecture.
func HostArch() string {
	for _, name := range arch.Names() {
		if a, err := arch.ByName(name); err == nil && a.Go == goruntime.GOARCH {
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
	for _, line := range slices.Concat(b.Sources, b.Updates) {
		if !strings.HasPrefix(line, "deb ") && !strings.HasPrefix(line, "deb-src ") || strings.ContainsAny(line, "\n\x00") {
			return fmt.Errorf("source %q: want a line of apt's sources.list, \"deb URL SUITE COMPONENT\"", line)
		}
	}
	for _, option := range b.AptOptions {
		if _, err := aptOption(option); err != nil {
			return err
		}
	}
	return nil
}

// programs are the bootstrap programs, the faster one first.
var programs = []struct {
	name      string
	apt       bool // it takes further lines of sources.list, and options for apt
	arguments func(b Bootstrap, directory string) []string
}{
	{"mmdebstrap", true, func(b Bootstrap, directory string) []string {
		arguments := b.common("--architectures=")
		for _, option := range b.AptOptions {
			line, _ := aptOption(option) // check has been here
			arguments = append(arguments, "--aptopt="+line)
		}
		return slices.Concat(arguments, []string{b.Suite, directory, b.Mirror}, b.Sources, b.Updates)
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

// alone are arguments of unshare(1) for a bootstrap program: all its processes and
// mounts end with it. Without them an interrupted mmdebstrap would finish its step
// first, perhaps a download.
var alone = []string{"--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--"}

// withDevices are arguments of sh(1) for a bootstrap program in a store that is mounted
// nodev and nosuid, where debootstrap refuses to work. In the program's mount namespace
// the draft becomes a mount of its own without these attributes.
var withDevices = []string{"sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,dev,suid "$0"; exec "$@"`}

// bootstrapCommand returns the command line for a program and its arguments.
func (d *Draft) bootstrapCommand(program string, args []string) ([]string, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", d.Path, err)
	}
	command := slices.Clone(alone)
	if st.Flags&closedMount != 0 && !d.store.Here.Rootless() { // in a user namespace the attributes of the host's mounts cannot be changed
		command = append(append(command, withDevices...), d.Path)
	}
	return slices.Concat(command, []string{program}, args), nil
}

// Bootstrap fills a draft with a Debian release. It runs the first program that is
// installed. If this process is interrupted, all processes of that program get a
// SIGTERM, and time to remove their temporary files. If this process is killed, so are
// they.
func (d *Draft) Bootstrap(ctx context.Context, b Bootstrap) error {
	if err := b.check(); err != nil {
		return err
	}
	for _, p := range programs {
		path, err := exec.LookPath(p.name)
		if err != nil {
			continue
		}
		if len(b.Sources)+len(b.AptOptions) > 0 && !p.apt {
			return fmt.Errorf("sources and apt options: %s does not take any: apt-get install mmdebstrap", p.name)
		}
		if len(b.Updates) > 0 && !p.apt {
			fmt.Fprintf(b.Output, "runtime: %s makes %s without its updates: apt-get install mmdebstrap\n", p.name, b.Suite)
		}
		if p.apt {
			if err := d.checkPackages(ctx, path, b, p.arguments(b, "/dev/null")); err != nil {
				return err
			}
		}
		command, err := d.bootstrapCommand(path, p.arguments(b, d.Path))
		if err != nil {
			return err
		}
		said := &tail{to: b.Output}
		if err := runUnshared(ctx, command, said); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted, nothing is left of it")
			}
			return fmt.Errorf("%s failed (%w), nothing is left of it%s", p.name, err, remedy(string(said.kept)))
		}
		return nil
	}
	return errors.New("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")
}

// runUnshared runs unshare(1) with a command, and writes all of its output. When the
// context is done its processes get a SIGTERM, and time; when this process is killed, so
// are they.
func runUnshared(ctx context.Context, command []string, output io.Writer) error {
	cmd := exec.CommandContext(ctx, "unshare", command...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	goruntime.LockOSThread() // it is this thread whose death sends the signal
	defer goruntime.UnlockOSThread()
	return cmd.Run()
}
