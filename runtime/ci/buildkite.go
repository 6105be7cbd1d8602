package ci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Buildkite is two hooks of Buildkite's agent
// (https://buildkite.com/docs/agent/hooks): command, which runs a job's command in its
// checkout, and pre-exit, which ends what is left.
type Buildkite struct {
	Setup
	Machine Machine
}

func (b Buildkite) name() (string, error) {
	id := b.Variables("BUILDKITE_JOB_ID")
	if id == "" {
		return "", errors.New("BUILDKITE_JOB_ID is not set: Buildkite's agent calls this as a hook")
	}
	return "bk-" + safe(id), nil
}

// Command runs the job's command in a container, and returns its exit status.
func (b Buildkite) Command() (int, error) {
	name, err := b.name()
	if err != nil {
		return 0, err
	}
	image, err := b.image(b.Variables("BUILDKITE_PLUGIN_MAYFLY_IMAGE"))
	if err != nil {
		return 0, err
	}
	command := b.Variables("BUILDKITE_COMMAND")
	if command == "" {
		return 0, errors.New("BUILDKITE_COMMAND is empty: the step has no command")
	}
	checkout, err := b.checkout()
	if err != nil {
		return 0, err
	}
	names, err := b.environment()
	if err != nil {
		return 0, err
	}
	flags := append([]string{"--writable", "--die-with-parent", "--chdir", checkout}, bind(checkout, checkout, false)...)
	for _, name := range names {
		flags = append(flags, "--env", name)
	}
	return b.Machine.Run(Container{Name: name, Image: image, Flags: append(flags, b.Flags...), Command: []string{"/bin/sh", "-e", "-c", command}})
}

// checkout finds the job's directory, which is bound. It is below that of the agent's
// builds: a job's author can name another.
func (b Buildkite) checkout() (string, error) {
	dir, builds := b.Variables("BUILDKITE_BUILD_CHECKOUT_PATH"), b.Variables("BUILDKITE_BUILD_PATH")
	for _, name := range []*string{&dir, &builds} {
		if !filepath.IsAbs(*name) {
			return "", fmt.Errorf("BUILDKITE_BUILD_CHECKOUT_PATH is %q, BUILDKITE_BUILD_PATH is %q: want absolute paths", dir, builds)
		}
		real, err := filepath.EvalSymlinks(*name)
		if err != nil {
			return "", err
		}
		*name = real
	}
	if !strings.HasPrefix(dir, builds+"/") {
		return "", fmt.Errorf("the checkout %s is not below BUILDKITE_BUILD_PATH %s", dir, builds)
	}
	return dir, nil
}

// PreExit ends what a job has left.
func (b Buildkite) PreExit() error {
	name, err := b.name()
	if err != nil {
		return err
	}
	return b.Machine.Release(name)
}

// secret is the agent's token, which a build gets only if the flags say so.
const secret = "BUILDKITE_AGENT_ACCESS_TOKEN"

// environment returns the names of the job's variables, which the agent lists in a file
// of lines NAME="VALUE". A value with line ends is quoted, so a line that is no such
// entry belongs to none.
func (b Buildkite) environment() (names []string, err error) {
	names = []string{"CI", "BUILDKITE"}
	file := b.Variables("BUILDKITE_ENV_FILE")
	if file == "" {
		return names, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("BUILDKITE_ENV_FILE: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, _, is := strings.Cut(line, "=")
		if is && isVariable(name) && name != secret {
			names = append(names, name)
		}
	}
	return names, nil
}

// isVariable tells whether a text is a variable's name as shells have them.
func isVariable(name string) bool {
	return name != "" && (name[0] < '0' || name[0] > '9') && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
