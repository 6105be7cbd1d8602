package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"strings"
	"syscall"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/ci"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

func ciCommands() []command {
	return []command{
		{name: "gitlab", summary: "the stages of GitLab Runner's custom executor", sub: gitlabCommands},
		githubCommand,
		{name: "buildkite", summary: "two hooks of Buildkite's agent", sub: buildkiteCommands},
	}
}

func gitlabCommands() []command {
	gitlab := func(do func(ci.GitLab, []string) (int, error)) func(process, ci.Setup, []string) (int, error) {
		return func(self process, setup ci.Setup, args []string) (int, error) {
			g := ci.GitLab{Setup: setup, Machine: machine{self.Here}, Version: version, Out: stdout}
			code, err := do(g, args)
			if err != nil {
				code = g.Failed()
			}
			return code, err
		}
	}
	return []command{
		ciCommand("config", "", "tell the runner who runs its jobs", "runtime ci gitlab config", nothing, gitlab(func(g ci.GitLab, _ []string) (int, error) { return 0, g.Config() })),
		ciCommand("prepare", "[flags of run] [IMAGE]", "begin the containers of a job", "runtime ci gitlab prepare --memory 4G deb12-i386", withImage, gitlab(func(g ci.GitLab, _ []string) (int, error) { return 0, g.Prepare() })),
		ciCommand("run", "SCRIPT STAGE", "run a script of a job", "runtime ci gitlab run script.sh build_script", twoArguments, gitlab(func(g ci.GitLab, args []string) (int, error) { return g.Run(args[0], args[1]) })),
		ciCommand("cleanup", "", "end the containers of a job", "runtime ci gitlab cleanup", nothing, gitlab(func(g ci.GitLab, _ []string) (int, error) { return 0, g.Cleanup() })),
	}
}

var githubCommand = ciCommand("github", "[flags of run]", "what GitHub's runner asks of its container hook, on standard input", "runtime ci github --memory 4G <prepare_job.json", flagsOnly,
	func(self process, setup ci.Setup, _ []string) (int, error) {
		return ci.GitHub{Setup: setup, Machine: machine{self.Here}}.Do(os.Stdin)
	})

func buildkiteCommands() []command {
	return []command{
		ciCommand("command", "[flags of run] [IMAGE]", "run a job's command in a container", "runtime ci buildkite command deb12-i386", withImage, func(self process, setup ci.Setup, _ []string) (int, error) {
			return ci.Buildkite{Setup: setup, Machine: machine{self.Here}}.Command()
		}),
		ciCommand("pre-exit", "", "end what a job has left", "runtime ci buildkite pre-exit", nothing, func(self process, setup ci.Setup, _ []string) (int, error) {
			return exit(ci.Buildkite{Setup: setup, Machine: machine{self.Here}}.PreExit())
		}),
	}
}

// What a command of a CI system takes.
type takes int

const (
	nothing      takes = iota
	twoArguments       // two arguments
	flagsOnly          // flags of run
	withImage          // those, and an image for jobs that name none
)

// ciCommand returns a command that a CI system calls.
func ciCommand(name, synopsis, summary, example string, what takes, do func(process, ci.Setup, []string) (int, error)) command {
	return command{name: name, granted: true, passes: true, synopsis: synopsis, summary: summary, examples: []string{example}, bare: what == nothing,
		setUp: func(flags *flag.FlagSet) action {
			if what == flagsOnly || what == withImage {
				declare(flags)
			}
			return func(self process, args []string) (int, error) {
				setup := ci.Setup{Variables: os.Getenv}
				switch {
				case what == twoArguments && len(args) != 2:
					return exit(fmt.Errorf("want %s", synopsis))
				case what == flagsOnly && len(args) > 0 || len(args) > 1 && what == withImage:
					return exit(fmt.Errorf("want %s, and no %q", synopsis, args[len(args)-1]))
				case what == flagsOnly, what == withImage:
					setup.Flags = invoked[:len(invoked)-len(args)]
					if n := len(setup.Flags); n > 0 && setup.Flags[n-1] == "--" {
						setup.Flags = setup.Flags[:n-1]
					}
				}
				if what == withImage && len(args) == 1 {
					setup.Image = args[0]
				}
				code, err := do(self, setup, args)
				if err != nil && code == 0 {
					code = status.ExitCodeOf(err)
				}
				return code, err
			}
		}}
}

// machine is the program itself, for package ci. What does not end with this process is
// done by calling it again: it has its privileges then.
type machine struct{ here.Here }

// Hold implements ci.Machine.
func (m machine) Hold(c ci.Container) error {
	command := c.Command
	if command == nil {
		command = holdCommand
	}
	code, err := again("runtime", append(append([]string{"run", "--detach", "--quiet", "--name", c.Name}, containerFlags(c)...), append([]string{c.Image, "--"}, command...)...)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("container %s of image %s has not begun", c.Name, c.Image)
	}
	return err
}

// containerFlags returns the flags of a container. The values of its variables go by the
// environment, which nobody else can read, unlike arguments.
func containerFlags(c ci.Container) []string {
	flags := c.Flags
	for _, entry := range c.Variables {
		name, value, _ := strings.Cut(entry, "=")
		if os.Setenv(name, value) == nil {
			flags = append(flags[:len(flags):len(flags)], "--env", name)
		}
	}
	return flags
}

// Exec implements ci.Machine.
func (m machine) Exec(c ci.Command) (int, error) {
	if c.Input != "" {
		f, err := openFile(c.Input, os.O_RDONLY, 0)
		if err != nil {
			return 0, err
		}
		if err := syscall.Dup2(int(f.Fd()), 0); err != nil {
			return 0, err
		}
	}
	relay, err := openRelay()
	if err != nil {
		return 0, err
	}
	how, err := execution{container: c.Container, args: c.Args, env: c.Variables, dir: c.Dir, noTTY: true}.run(m.Here)
	if failed := relay.close(); failed != nil {
		return 0, errors.Join(err, failed)
	}
	var missing *status.CommandError
	if errors.As(err, &missing) { // as a shell tells it
		fail(err)
		return missing.Code, nil
	}
	return how.ExitCode(), err
}

// Run implements ci.Machine.
func (m machine) Run(c ci.Container) (int, error) {
	set := newFlags("runtime run")
	o := declare(set)
	args := append(append([]string{"--name", c.Name}, containerFlags(c)...), append([]string{c.Image, "--"}, c.Command...)...)
	if err := parse(set, args); err != nil {
		return 0, err
	}
	if err := o.split(set, set.Args()); err != nil {
		return 0, err
	}
	return o.launch(m.Here)
}

// Outside implements ci.Machine.
func (m machine) Outside(args ...string) (int, error) {
	if err := privilege.Renounce(); err != nil {
		return 0, err
	}
	goruntime.LockOSThread() // whose end would be the parent's, for Pdeathsig
	defer goruntime.UnlockOSThread()
	restoreLimits()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	_ = cmd.Wait()
	ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.EndOf(ws).ExitCode(), nil
}

// Release implements ci.Machine.
func (m machine) Release(name string) error {
	names, err := heldNames(m.Here, name)
	for _, name := range names {
		code, failed := again("schroot", "--end-session", "--force", "--chroot", name)
		if failed == nil && code != 0 {
			failed = fmt.Errorf("container %s has not ended", name)
		}
		err = errors.Join(err, failed)
	}
	if _, failed := again("runtime", "gc"); failed != nil { // of what was killed with its supervisor
		warn(failed.Error())
	}
	return err
}
