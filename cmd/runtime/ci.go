package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/ci"
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
	call := func(do func(ci.GitLab, []string) (int, error)) func(process, ci.Setup, []string) (int, error) {
		return func(self process, setup ci.Setup, args []string) (int, error) {
			return do(ci.GitLab{Setup: setup, Machine: machine{self.Here}, Version: version, Out: stdout}, args)
		}
	}
	failure := ci.GitLab{Setup: ci.Setup{Variables: os.Getenv}}.Failed()
	return []command{
		ciCall{name: "config", synopsis: "[DIR]", summary: "tell the runner who runs its jobs, and that repositories are below DIR (default: ~/builds)",
			example: "runtime ci gitlab config /home/ci/builds", takes: directory, failure: failure,
			do: call(func(g ci.GitLab, args []string) (int, error) { return 0, g.Config(strings.Join(args, "")) })}.command(),
		ciCall{name: "prepare", synopsis: "[flags of run] [IMAGE]", summary: "begin the containers of a job",
			example: "runtime ci gitlab prepare --memory 4G deb12-i386", takes: withImage, helper: true, failure: failure,
			do: call(func(g ci.GitLab, _ []string) (int, error) { return 0, g.Prepare() })}.command(),
		ciCall{name: "run", synopsis: "SCRIPT STAGE", summary: "run a script of a job",
			example: "runtime ci gitlab run script.sh build_script", takes: twoArguments, helper: true, failure: failure,
			do: call(func(g ci.GitLab, args []string) (int, error) { return g.Run(args[0], args[1]) })}.command(),
		ciCall{name: "cleanup", summary: "end the containers of a job",
			example: "runtime ci gitlab cleanup", takes: nothing, failure: failure,
			do: call(func(g ci.GitLab, _ []string) (int, error) { return 0, g.Cleanup() })}.command(),
	}
}

var githubCommand = ciCall{name: "github", synopsis: "[flags of run]", summary: "what GitHub's runner asks of its container hook, on standard input",
	example: "runtime ci github --memory 4G <prepare_job.json", takes: flagsOnly,
	do: func(self process, setup ci.Setup, _ []string) (int, error) {
		return ci.GitHub{Setup: setup, Machine: machine{self.Here}}.Do(os.Stdin)
	}}.command()

func buildkiteCommands() []command {
	call := func(do func(ci.Buildkite) (int, error)) func(process, ci.Setup, []string) (int, error) {
		return func(self process, setup ci.Setup, _ []string) (int, error) {
			return do(ci.Buildkite{Setup: setup, Machine: machine{self.Here}})
		}
	}
	return []command{
		ciCall{name: "command", synopsis: "[flags of run] [IMAGE]", summary: "run a job's command in a container",
			example: "runtime ci buildkite command deb12-i386", takes: withImage, do: call(ci.Buildkite.Command)}.command(),
		ciCall{name: "pre-exit", summary: "end what a job has left",
			example: "runtime ci buildkite pre-exit", takes: nothing, do: call(func(b ci.Buildkite) (int, error) { return 0, b.PreExit() })}.command(),
	}
}

// What a call of a CI system takes.
type takes int

const (
	nothing      takes = iota
	directory          // one, or none
	twoArguments       // two arguments
	flagsOnly          // flags of run
	withImage          // those, and an image for jobs that name none
)

// A ciCall is what a CI system calls.
type ciCall struct {
	name, synopsis, summary, example string

	takes   takes
	helper  bool // it has --helper
	failure int  // exit status for what is not the job's fault; 0: that of errors
	do      func(process, ci.Setup, []string) (int, error)
}

func (c ciCall) command() command {
	return command{name: c.name, granted: true, passes: true, synopsis: c.synopsis, summary: c.summary, examples: []string{c.example}, bare: c.takes == nothing, failure: c.failure,
		setUp: func(flags *flag.FlagSet) action {
			if c.takes == flagsOnly || c.takes == withImage {
				declare(flags)
			}
			helper := new(string)
			if c.helper {
				helper = flags.String("helper", "", "run what is the runner's, such as git, in a container of `IMAGE`, not on the host (for prepare and run)")
			}
			return func(self process, args []string) (int, error) {
				setup, err := c.setup(flags, args)
				setup.Helper = *helper
				code := 0
				if err == nil {
					code, err = c.do(self, setup, args)
				}
				if err != nil {
					code = cmp.Or(c.failure, status.ExitCodeOf(err))
				}
				return code, err
			}
		}}
}

// itsOwn are the flags of run that a call of a CI system sets itself.
var itsOwn = []string{"name", "detach", "detached", "held", "variables", "dry-run", "session", "discard", "die-with-parent"}

// setup checks the arguments and separates the flags of run from an image.
func (c ciCall) setup(flags *flag.FlagSet, args []string) (s ci.Setup, err error) {
	s.Variables = os.Getenv
	for _, name := range itsOwn {
		if f := flags.Lookup(name); f != nil && f.Changed {
			return s, fmt.Errorf("--%s: `runtime ci` says that itself", name)
		}
	}
	most := map[takes]int{directory: 1, twoArguments: 2, withImage: 1}[c.takes]
	if len(args) > most || c.takes == twoArguments && len(args) < most {
		return s, fmt.Errorf("want %s", cmp.Or(c.synopsis, "no arguments"))
	}
	if c.takes == flagsOnly || c.takes == withImage {
		s.Flags = without(flags, invoked[:len(invoked)-len(args)], "helper")
	}
	if c.takes == withImage {
		s.Image = strings.Join(args, "")
	}
	return s, nil
}
