package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"

	flag "github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
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
		ciCommand("config", "[DIR]", "tell the runner who runs its jobs, and that repositories are below DIR (default: ~/builds)", "runtime ci gitlab config /home/ci/builds", directory, gitlab(func(g ci.GitLab, args []string) (int, error) {
			return 0, g.Config(strings.Join(args, ""))
		})),
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
	directory          // one, or none
	twoArguments       // two arguments
	flagsOnly          // flags of run
	withImage          // those, and an image for jobs that name none
)

// ciCommand returns a command that a CI system calls.
func ciCommand(name, synopsis, summary, example string, what takes, do func(process, ci.Setup, []string) (int, error)) command {
	failure := 0
	if strings.HasPrefix(example, "runtime ci gitlab") {
		failure = ci.GitLab{Setup: ci.Setup{Variables: os.Getenv}}.Failed()
	}
	return command{name: name, granted: true, passes: true, failure: failure, synopsis: synopsis, summary: summary, examples: []string{example}, bare: what == nothing,
		setUp: func(flags *flag.FlagSet) action {
			if what == flagsOnly || what == withImage {
				declare(flags)
			}
			helper := new(string)
			if strings.HasPrefix(example, "runtime ci gitlab") && (what == withImage || what == twoArguments) {
				helper = flags.String("helper", "", "run what is the runner's, such as git, in a container of `IMAGE`, not on the host (for prepare and run)")
			}
			return func(self process, args []string) (int, error) {
				setup := ci.Setup{Variables: os.Getenv}
				for _, name := range []string{"name", "detach", "detached", "held", "variables", "dry-run", "session", "discard", "die-with-parent"} {
					if f := flags.Lookup(name); f != nil && f.Changed {
						return cmp.Or(failure, status.ExitFailure), fmt.Errorf("--%s: `runtime ci` says that itself", name)
					}
				}
				switch {
				case what == twoArguments && len(args) != 2:
					return cmp.Or(failure, status.ExitFailure), fmt.Errorf("want %s", synopsis)
				case what == flagsOnly && len(args) > 0 || len(args) > 1 && (what == withImage || what == directory):
					return cmp.Or(failure, status.ExitFailure), fmt.Errorf("want %s, and no %q", synopsis, args[len(args)-1])
				case what == flagsOnly, what == withImage:
					setup.Flags = flagsOfRun(invoked[:len(invoked)-len(args)])
				}
				setup.Helper = *helper
				if what == withImage && len(args) == 1 {
					setup.Image = args[0]
				}
				code, err := do(self, setup, args)
				if err != nil && code == 0 {
					code = cmp.Or(failure, status.ExitCodeOf(err))
				}
				return code, err
			}
		}}
}

// flagsOfRun returns what is run's of some flags.
func flagsOfRun(args []string) (flags []string) {
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		switch {
		case args[i] == "--helper":
			i++
		case !strings.HasPrefix(args[i], "--helper="):
			flags = append(flags, args[i])
		}
	}
	return flags
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
	report, err := beginHeld(c.Name)
	if err != nil {
		return err
	}
	defer report.Close()
	var variables []string
	for _, entry := range c.Variables {
		variables = append(variables, jobPrefix+entry)
	}
	args := slices.Concat([]string{"run"}, c.Flags, []string{"--detach", "--held", "--quiet", "--name", c.Name, "--variables", jobPrefix, "--", c.Image, "--"}, command)
	if err := again(variables, nil, []*os.File{report}, "runtime", args...); err != nil {
		return fmt.Errorf("container %s of image %s has not begun: %w", c.Name, c.Image, err)
	}
	return nil
}

// jobPrefix begins the names of variables of a job in the environment of the program,
// which no other user can read, unlike its arguments. Without it a job could set the
// program's own.
const jobPrefix = "MAYFLY_OF_JOB_"

// Exec implements ci.Machine.
func (m machine) Exec(c ci.Command) (int, error) {
	if c.Input != "" {
		f, err := openFile(c.Input, os.O_RDONLY, 0)
		if err != nil {
			return 0, err
		}
		if err := unix.Dup3(int(f.Fd()), 0, 0); err != nil {
			return 0, err
		}
	}
	pipes, err := openOutputPipes()
	if err != nil {
		return 0, err
	}
	how, err := execution{container: c.Container, args: c.Args, env: c.Variables, dir: c.Dir, noTTY: true}.run(m.Here)
	if failed := pipes.close(); failed != nil {
		warn("pass the output on: " + failed.Error())
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
	args := slices.Concat(c.Flags, []string{"--name", c.Name, "--", c.Image, "--"}, c.Command)
	if err := parse(set, args); err != nil {
		return 0, err
	}
	if err := o.split(set, set.Args()); err != nil {
		return 0, err
	}
	o.env = append(o.env, c.Variables...)
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
	cmd.Env = access.CallerEnviron()
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
	belongs := func(other string) bool { return other == name || strings.HasPrefix(other, name+"-") }
	names, err := held()
	for _, name := range names {
		if belongs(name) {
			_, failed := release(m.Here, name)
			err = errors.Join(err, failed)
		}
	}
	records, failed := recordsOf(m.Here, uint32(os.Getuid()))
	for _, r := range records { // one of Run is not held
		if !slices.Contains(names, r.Name) && belongs(r.Name) {
			err = errors.Join(err, kill(r.Name))
		}
	}
	return errors.Join(err, failed, again(nil, nil, nil, "runtime", "gc"))
}

// Holds implements ci.Machine.
func (m machine) Holds(name string) bool {
	names, err := held()
	return err == nil && slices.Contains(names, name)
}
