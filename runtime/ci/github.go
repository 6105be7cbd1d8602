package ci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// GitHub is the container hook of GitHub's runner
// (https://docs.github.com/en/actions/hosting-your-own-runners/customizing-the-containers-used-by-jobs):
// it is called for each thing to do, which standard input tells. A runner has one job at
// a time, so its name is the job's.
type GitHub struct {
	Setup
	Machine Machine
}

// A hook is what the runner asks for.
type hook struct {
	Command      string
	ResponseFile string
	State        struct{ Container, Network string }
	Args         json.RawMessage
}

// hookContainer is a container of a job, a service or a step.
type hookContainer struct {
	Image, Dockerfile, ContextName, WorkingDirectory, CreateOptions, EntryPoint string

	EntryPointArgs, PortMappings, PrependPath []string

	EnvironmentVariables                 map[string]string
	UserMountVolumes, SystemMountVolumes []struct {
		SourceVolumePath, TargetVolumePath string
		ReadOnly                           bool
	}
}

// most bounds what is read of the runner, in bytes.
const most = 16 << 20

// Do does what the runner asks for, and returns the exit status: a step's own.
func (g GitHub) Do(input io.Reader) (int, error) {
	var h hook
	data, err := io.ReadAll(io.LimitReader(input, most+1))
	switch {
	case err != nil:
	case len(data) > most:
		err = fmt.Errorf("it is longer than %d bytes", most)
	default:
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		return 0, fmt.Errorf("what the runner asks for, on standard input: %w", err)
	}
	name, err := g.name()
	if err != nil {
		return 0, err
	}
	switch h.Command {
	case "prepare_job":
		return 0, g.prepare(name, h)
	case "run_script_step":
		return g.script(h)
	case "run_container_step":
		return g.container(name, h)
	case "cleanup_job":
		return 0, g.Machine.Release(name)
	}
	return 0, fmt.Errorf("the runner asks for %q, which this version does not know", h.Command)
}

func (g GitHub) name() (string, error) {
	runner := g.Variables("RUNNER_NAME")
	if runner == "" {
		return "", errors.New("RUNNER_NAME is not set: GitHub's runner calls this as ACTIONS_RUNNER_CONTAINER_HOOKS")
	}
	// Two runners of one host may have one name in different organisations.
	return "gh-" + safe(strings.TrimSpace(runner+" "+g.Variables("ACTIONS_RUNNER_CONTAINER_HOOKS"))), nil
}

// prepare begins the containers of a job. What an earlier job of the runner's has left is
// ended before.
func (g GitHub) prepare(name string, h hook) error {
	var args struct {
		Container *hookContainer
		Services  []hookContainer
	}
	if err := json.Unmarshal(h.Args, &args); err != nil {
		return fmt.Errorf("prepare_job: %w", err)
	}
	if err := g.Machine.Release(name); err != nil {
		return err
	}
	if args.Container == nil {
		return errors.New("services of a job without a container: give the job a container")
	}
	job, err := g.begins(name, *args.Container, true)
	if err != nil {
		return err
	}
	var services []service
	for _, s := range args.Services {
		c, err := g.begins("", s, false)
		if err != nil {
			return fmt.Errorf("service %s: %w", s.ContextName, err)
		}
		command := s.EntryPointArgs
		if s.EntryPoint != "" {
			command = append([]string{s.EntryPoint}, command...)
		}
		services = append(services, service{image: s.Image, aliases: []string{s.ContextName}, command: command, flags: c.Flags, ports: published(s.PortMappings), env: c.Variables})
	}
	if err := begin(g.Machine, job, services); err != nil {
		return err
	}
	network := ""
	if len(services) > 0 || len(published(args.Container.PortMappings)) > 0 {
		network = "join:" + name
	}
	return g.respond(h.ResponseFile, name, network, len(services))
}

// respond tells the runner what it will say again for each step.
func (g GitHub) respond(file, name, network string, services int) error {
	alpine, err := g.Machine.Exec(Command{Container: name, Args: []string{"test", "-e", "/etc/alpine-release"}, Dir: "/"})
	if err != nil {
		return err
	}
	type context struct {
		ID string `json:"id"`
	}
	others := []context{}
	for i := range services {
		others = append(others, context{fmt.Sprintf("%s-%d", name, i+1)})
	}
	data, err := json.Marshal(map[string]any{
		"state":    map[string]any{"container": name, "network": network},
		"context":  map[string]any{"container": context{name}, "services": others},
		"isAlpine": alpine == 0,
	})
	if err != nil {
		return err
	}
	if file == "" {
		return errors.New("prepare_job: there is no responseFile")
	}
	return os.WriteFile(file, data, 0o600)
}

// script runs a step in the job's container.
func (g GitHub) script(h hook) (int, error) {
	var c hookContainer
	if err := json.Unmarshal(h.Args, &c); err != nil {
		return 0, fmt.Errorf("run_script_step: %w", err)
	}
	if h.State.Container == "" {
		return 0, errors.New("run_script_step: state has no container: prepare_job has not been called")
	}
	return g.Machine.Exec(Command{Container: h.State.Container, Args: c.command(), Variables: c.variables(), Dir: c.WorkingDirectory})
}

// container runs a step in a container of its own, in the network of the job's.
func (g GitHub) container(name string, h hook) (int, error) {
	var c hookContainer
	if err := json.Unmarshal(h.Args, &c); err != nil {
		return 0, fmt.Errorf("run_container_step: %w", err)
	}
	switch {
	case c.Dockerfile != "":
		return 0, errors.New("an action with a Dockerfile: images are not built here; `runtime image create` makes one from a recipe")
	case c.EntryPoint == "":
		return 0, fmt.Errorf("a step of image %s without an entrypoint: images have none of their own here", c.Image)
	}
	step, err := g.begins(name+"-step", c, true)
	if err != nil {
		return 0, err
	}
	step.Command = c.command()
	step.Flags = append(step.Flags, "--die-with-parent")
	if h.State.Network != "" {
		step.Flags = append(step.Flags, "--network", h.State.Network)
	}
	if c.WorkingDirectory != "" {
		step.Flags = append(step.Flags, "--chdir", c.WorkingDirectory)
	}
	return g.Machine.Run(step)
}

// command returns the command of a step, with directories before those of its PATH.
func (c hookContainer) command() []string {
	command := append([]string{c.EntryPoint}, c.EntryPointArgs...)
	if len(c.PrependPath) == 0 {
		return command
	}
	return append([]string{"sh", "-c", `PATH=$1:$PATH; export PATH; shift; exec "$@"`, "sh", strings.Join(c.PrependPath, ":")}, command...)
}

// mayAsk are the flags of run that a workflow may have among its options. Each takes a
// value. The others are the administrator's: some name files of the host's.
var mayAsk = []string{"--cpus", "--memory", "-m", "--tasks", "--env", "-e", "--network", "--tmpfs", "--add-host", "--hostname", "--publish", "-p"}

// options reads the options of a workflow.
func options(text string) ([]string, error) {
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		name, value, joined := strings.Cut(words[i], "=")
		if !slices.Contains(mayAsk, name) {
			return nil, fmt.Errorf("option %s: a workflow may ask for %s", words[i], strings.Join(mayAsk, " "))
		}
		if !joined {
			if i++; i == len(words) {
				return nil, fmt.Errorf("option %s: it needs a value", name)
			}
			value = words[i]
		}
		switch {
		case name == "--network" && value != "none" && value != "private" && value != "host":
			return nil, fmt.Errorf("option --network %s: a workflow may ask for none, private and host", value)
		case (name == "--env" || name == "-e") && !strings.Contains(value, "="):
			return nil, fmt.Errorf("option %s %s: want NAME=VALUE: a variable of the runner's is not the workflow's", name, value)
		}
	}
	return words, nil
}

// published are the ports that are told for both sides; the others can be reached in the
// job's network without that.
func published(ports []string) []string {
	return slices.DeleteFunc(slices.Clone(ports), func(p string) bool { return !strings.Contains(p, ":") })
}

// begins translates a container's description. alone tells that it has a network that is
// not the job's.
func (g GitHub) begins(name string, c hookContainer, alone bool) (Container, error) {
	if err := checkImage(c.Image); err != nil {
		return Container{}, err
	}
	asked, err := options(c.CreateOptions)
	if err != nil {
		return Container{}, err
	}
	flags := []string{"--writable"}
	for _, m := range c.SystemMountVolumes {
		if !strings.HasSuffix(m.SourceVolumePath, "/docker.sock") { // there is none
			flags = append(flags, bind(m.SourceVolumePath, m.TargetVolumePath, m.ReadOnly)...)
		}
	}
	if len(c.UserMountVolumes) > 0 {
		return Container{}, fmt.Errorf("volume %s: a workflow has no volumes here; the administrator's --bind, behind `ci github`, gives directories to all jobs", c.UserMountVolumes[0].SourceVolumePath)
	}
	if ports := published(c.PortMappings); alone && len(ports) > 0 {
		flags = append(flags, "--network", "private")
		for _, ports := range ports {
			flags = append(flags, "--publish", ports)
		}
	}
	return Container{Name: name, Image: c.Image, Flags: slices.Concat(flags, asked, g.Flags), Variables: c.variables()}, nil
}

// variables returns the environment in a fixed order.
func (c hookContainer) variables() []string {
	list := []string{"GITHUB_ACTIONS=true"}
	if _, is := c.EnvironmentVariables["CI"]; !is {
		list = append(list, "CI=true")
	}
	for name, value := range c.EnvironmentVariables {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
