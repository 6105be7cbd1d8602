package ci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GitLab is the custom executor of GitLab Runner
// (https://docs.gitlab.com/runner/executors/custom). A job is a held container. The
// job's own scripts run in it; what the runner does besides, such as fetching the
// repository, runs outside, or in a container of its own (Setup.Helper): images need
// neither git nor the runner.
type GitLab struct {
	Setup
	Machine Machine
	Version string    // of Mayfly
	Out     io.Writer // standard output
}

// The runner's variables for an executor begin so; then come the job's own names.
const jobVariable = "CUSTOM_ENV_"

func (g GitLab) job(name string) string { return g.Variables(jobVariable + name) }

// A gitlabJob is what the runner has of the server. Variables are no source for it: a
// job's author can set those that GitLab has set.
type gitlabJob struct {
	ID      int64 `json:"id"`
	JobInfo struct {
		ProjectID int64 `json:"project_id"`
	} `json:"job_info"`
}

// responseFile names the file in which the runner has what the server has said.
const responseFile = "JOB_RESPONSE_FILE"

func (g GitLab) read() (j gitlabJob, err error) {
	name := g.Variables(responseFile)
	if name == "" {
		return j, fmt.Errorf("%s is not set: GitLab Runner calls this as a custom executor", responseFile)
	}
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err == nil && (j.ID <= 0 || j.JobInfo.ProjectID <= 0) {
		err = errors.New("it has no id of a job or project")
	}
	if err != nil {
		return j, fmt.Errorf("%s %s: %w", responseFile, name, err)
	}
	return j, nil
}

// name is the container's.
func (j gitlabJob) name() string { return fmt.Sprintf("gl-%d", j.ID) }

// Failed is the exit status for a failure that is not the job's. The runner may try such
// a job again.
func (g GitLab) Failed() int { return g.status("SYSTEM_FAILURE_EXIT_CODE", 2) }

// status returns an exit status that the runner has chosen.
func (g GitLab) status(variable string, otherwise int) int {
	if n, err := strconv.Atoi(g.Variables(variable)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// buildsVariable tells later stages which directory Config has chosen. It is the runner's,
// not a variable of the job.
const buildsVariable = "MAYFLY_BUILDS"

// Config tells the runner who it is that runs its jobs, and where a job's repository is to
// be: below dir in a directory of the project's own, which alone is bound.
func (g GitLab) Config(dir string) error {
	j, err := g.read()
	if err != nil {
		return err
	}
	if dir == "" {
		dir = filepath.Join(g.Variables("HOME"), "builds")
	}
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("the directory for builds is %q: want an absolute path", dir)
	}
	builds := filepath.Join(dir, fmt.Sprintf("project-%d", j.JobInfo.ProjectID))
	type driver struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	return json.NewEncoder(g.Out).Encode(struct {
		Driver driver            `json:"driver"`
		Builds string            `json:"builds_dir"`
		Shared bool              `json:"builds_dir_is_shared"`
		JobEnv map[string]string `json:"job_env"`
	}{driver{"mayfly", g.Version}, builds, true, map[string]string{buildsVariable: builds}})
}

// afterTimeout is how long a job's container lives beyond the job's own time limit, if
// the runner does not end it.
const afterTimeout = 10 * time.Minute

// Prepare begins the job's container and those of its services. What an earlier attempt
// has left is ended before.
func (g GitLab) Prepare() error {
	j, err := g.read()
	if err != nil {
		return err
	}
	name := j.name()
	image, err := g.image(g.job("CI_JOB_IMAGE"))
	if err != nil {
		return err
	}
	if err := g.Machine.Release(name); err != nil {
		return err
	}
	work, err := g.workspace()
	if err != nil {
		return err
	}
	services, err := g.services()
	if err != nil {
		return err
	}
	var limit []string
	if seconds, err := strconv.Atoi(g.job("CI_JOB_TIMEOUT")); err == nil && seconds > 0 {
		limit = []string{"--timeout", (time.Duration(seconds)*time.Second + afterTimeout).String()}
	}
	for i := range services {
		services[i].flags = slices.Concat([]string{"--writable"}, limit, g.Flags)
	}
	flags := slices.Concat([]string{"--writable"}, bind(work, work, false), limit)
	if g.Helper != "" {
		helper := slices.Concat(flags, g.Flags, []string{"--chdir", "/"})
		if err := g.Machine.Hold(Container{Name: name + helperSuffix, Image: g.Helper, Flags: helper}); err != nil {
			return err
		}
	}
	return begin(g.Machine, Container{Name: name, Image: image, Flags: append(flags, g.Flags...)}, services)
}

// helperSuffix ends the name of the container of what the runner does.
const helperSuffix = "-helper"

// workspace makes the directory of the job's project.
func (g GitLab) workspace() (string, error) {
	dir := g.Variables(buildsVariable)
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s is %q: config_exec has to be `runtime ci gitlab config`", buildsVariable, dir)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// services reads the job's services.
func (g GitLab) services() ([]service, error) {
	text := g.job("CI_JOB_SERVICES")
	if text == "" {
		return nil, nil
	}
	var listed []struct {
		Name, Alias         string
		Entrypoint, Command []string
	}
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		return nil, fmt.Errorf("%sCI_JOB_SERVICES: %w", jobVariable, err)
	}
	var list []service
	for _, s := range listed {
		aliases := strings.FieldsFunc(s.Alias, func(c rune) bool { return c == ',' || c == ' ' })
		list = append(list, service{image: s.Name, aliases: append(aliases, s.Name), command: slices.Concat(s.Entrypoint, s.Command)})
	}
	return list, nil
}

// inside tells whether a stage is a script of the job's own.
func inside(stage string) bool {
	return stage == "build_script" || stage == "after_script" || strings.HasPrefix(stage, "step_")
}

// script runs a script that comes in by standard input with what shell there is. The
// script's own standard input is empty. The file has the job's secrets: it has no name
// when the script runs.
const script = `script=/tmp/.mayfly-script-$$
(umask 077; cat >"$script") || exit
exec 9<"$script"
rm "$script"
shell=sh
if command -v bash >/dev/null; then shell=bash; fi
exec "$shell" /dev/fd/9 </dev/null`

// Run runs a script of a stage, and returns the exit status for the runner.
func (g GitLab) Run(file, stage string) (int, error) {
	j, err := g.read()
	if err != nil {
		return 0, err
	}
	name := j.name()
	var code int
	switch {
	case inside(stage):
		code, err = g.Machine.Exec(Command{Container: name, Args: []string{"sh", "-c", script}, Dir: "/", Input: file})
	case g.Helper != "":
		code, err = g.Machine.Exec(Command{Container: name + helperSuffix, Args: []string{"sh", "-c", script}, Dir: "/", Input: file})
	case g.Machine.Holds(name + helperSuffix):
		return 0, errors.New("--helper was given for prepare: run needs it, too")
	default:
		code, err = g.Machine.Outside("bash", file)
	}
	if err != nil || code == 0 {
		return 0, err
	}
	if to := g.Variables("BUILD_EXIT_CODE_FILE"); to != "" {
		if err := os.WriteFile(to, []byte(strconv.Itoa(code)), 0o600); err != nil {
			return 0, fmt.Errorf("BUILD_EXIT_CODE_FILE: %w", err)
		}
	}
	return g.status("BUILD_FAILURE_EXIT_CODE", 1), nil
}

// Cleanup ends the job's containers.
func (g GitLab) Cleanup() error {
	j, err := g.read()
	if err != nil {
		return err
	}
	return g.Machine.Release(j.name())
}
