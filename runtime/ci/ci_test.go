package ci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A fake is a Machine that writes down what it is asked for.
type fake struct {
	asked []string
	held  string // name of a container
	code  int    // of commands
	err   error  // of everything
}

func (f *fake) note(format string, args ...any) {
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fake) Hold(c Container) error {
	f.note("hold %s %s %q %q %q", c.Name, c.Image, c.Flags, c.Variables, c.Command)
	return f.err
}

func (f *fake) Exec(c Command) (int, error) {
	f.note("exec %s %q %q %s <%s", c.Container, c.Args, c.Variables, c.Dir, c.Input)
	return f.code, f.err
}

func (f *fake) Run(c Container) (int, error) {
	f.note("run %s %s %q %q %q", c.Name, c.Image, c.Flags, c.Variables, c.Command)
	return f.code, f.err
}

func (f *fake) Outside(args ...string) (int, error) {
	f.note("outside %q", args)
	return f.code, f.err
}

func (f *fake) Holds(name string) bool { return name == f.held }

func (f *fake) Release(name string) error {
	f.note("release %s", name)
	return nil
}

// variables returns a function that looks variables up.
func variables(list ...string) func(string) string {
	return func(name string) string {
		for _, entry := range list {
			if value, is := strings.CutPrefix(entry, name+"="); is {
				return value
			}
		}
		return ""
	}
}

func (f *fake) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(f.asked, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(f.asked, "\n"), strings.Join(want, "\n"))
	}
}

// response is the runner's file with a job of the server's.
func response(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "response")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "JOB_RESPONSE_FILE=" + name
}

const aJob = `{"id":17,"job_info":{"project_id":4}}`

func TestGitLabPrepares(t *testing.T) {
	dir := t.TempDir()
	m := &fake{}
	g := GitLab{Machine: m, Setup: Setup{Flags: []string{"--memory", "4G"}, Variables: variables(response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=deb12",
		"MAYFLY_BUILDS="+dir+"/project-4", "CUSTOM_ENV_CI_JOB_TIMEOUT=3600",
		// A job's author can set these.
		"CUSTOM_ENV_CI_JOB_ID=18", "CUSTOM_ENV_CI_BUILDS_DIR=/etc", "CUSTOM_ENV_CI_PROJECT_DIR=/etc", "CUSTOM_ENV_MAYFLY_BUILDS=/etc",
		`CUSTOM_ENV_CI_JOB_SERVICES=[{"name":"redis","alias":"cache, db","entrypoint":["run"],"command":["it"]}]`)}}
	if err := g.Prepare(); err != nil {
		t.Fatal(err)
	}
	work := dir + "/project-4"
	m.want(t, "release gl-17",
		fmt.Sprintf(`hold gl-17 deb12 ["--writable" "--bind" "%s:%s" "--timeout" "1h10m0s" "--memory" "4G" "--network" "private" "--add-host" "cache:127.0.0.1" "--add-host" "db:127.0.0.1" "--add-host" "redis:127.0.0.1"] [] []`, work, work),
		`hold gl-17-1 redis ["--writable" "--timeout" "1h10m0s" "--memory" "4G" "--no-host-binds" "--chdir" "/" "--network" "join:gl-17"] [] ["run" "it"]`)
	if info, err := os.Stat(work); err != nil || !info.IsDir() {
		t.Errorf("the workspace is not made: %v", err)
	}
}

func TestGitLabsExitStatuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "code")
	for _, c := range []struct {
		stage     string
		code      int
		err       error
		want      int
		failed    bool
		written   string
		isOutside bool
	}{
		{"build_script", 0, nil, 0, false, "", false},
		{"step_script", 3, nil, 41, false, "3", false},
		{"step_release", 125, nil, 41, false, "125", false},
		{"after_script", 137, nil, 41, false, "137", false},
		{"get_sources", 1, nil, 41, false, "1", true},
		{"prepare_script", 0, nil, 0, false, "", true},
		{"upload_artifacts_on_failure", 0, nil, 0, false, "", true},
		{"cleanup_file_variables", 0, nil, 0, false, "", true},
		{"build_script", 0, errors.New("no such container"), 42, true, "", false},
	} {
		os.Remove(file)
		m := &fake{code: c.code, err: c.err}
		g := GitLab{Machine: m, Setup: Setup{Variables: variables(response(t, aJob), "BUILD_FAILURE_EXIT_CODE=41", "SYSTEM_FAILURE_EXIT_CODE=42", "BUILD_EXIT_CODE_FILE="+file)}}
		got, err := g.Run("script", c.stage)
		if err != nil {
			got = g.Failed()
		}
		written, _ := os.ReadFile(file)
		if got != c.want || (err != nil) != c.failed || string(written) != c.written || len(m.asked) != 1 || strings.HasPrefix(m.asked[0], "outside") != c.isOutside {
			t.Errorf("%+v: %d, %v, %q, %q", c, got, err, written, m.asked)
		}
	}
}

func TestGitLabConfig(t *testing.T) {
	for dir, want := range map[string]string{"": "/home/ci/builds/project-4", "/srv/builds": "/srv/builds/project-4"} {
		var out bytes.Buffer
		err := GitLab{Version: "1.0", Out: &out, Setup: Setup{Variables: variables(response(t, aJob), "HOME=/home/ci")}}.Config(dir)
		if wanted := `{"driver":{"name":"mayfly","version":"1.0"},"builds_dir":"` + want + `","builds_dir_is_shared":true,"job_env":{"MAYFLY_BUILDS":"` + want + `"}}`; err != nil || strings.TrimSpace(out.String()) != wanted {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}

// What is missing or wrong is said, and nothing begins.
func TestBadCalls(t *testing.T) {
	gitlab := func(do func(GitLab) error, list ...string) func(*fake) error {
		return func(m *fake) error { return do(GitLab{Machine: m, Setup: Setup{Variables: variables(list...)}}) }
	}
	github := func(input string, list ...string) func(*fake) error {
		return func(m *fake) error {
			_, err := GitHub{Machine: m, Setup: Setup{Variables: variables(list...)}}.Do(strings.NewReader(input))
			return err
		}
	}
	buildkite := func(list ...string) func(*fake) error {
		return func(m *fake) error {
			_, err := Buildkite{Machine: m, Setup: Setup{Variables: variables(list...)}}.Command()
			return err
		}
	}
	for want, do := range map[string]func(*fake) error{
		"JOB_RESPONSE_FILE is not set":           gitlab(GitLab.Prepare),
		"/no/such/file: ":                        gitlab(GitLab.Cleanup, "JOB_RESPONSE_FILE=/no/such/file"),
		"unexpected end":                         gitlab(GitLab.Prepare, response(t, "")),
		"no id of a job or project":              gitlab(GitLab.Prepare, response(t, `{"id":1}`)),
		"no id of a job":                         gitlab(GitLab.Prepare, response(t, `{"id":-1,"job_info":{"project_id":1}}`)),
		"the job names no image":                 gitlab(GitLab.Prepare, response(t, aJob)),
		`MAYFLY_BUILDS is ""`:                    gitlab(GitLab.Prepare, response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=x"),
		`for builds is "x"`:                      gitlab(func(g GitLab) error { return g.Config("x") }, response(t, aJob)),
		"CI_JOB_SERVICES: ":                      gitlab(GitLab.Prepare, response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=x", "MAYFLY_BUILDS="+t.TempDir(), "CUSTOM_ENV_CI_JOB_SERVICES=[1]"),
		"service redis: it needs a command":      gitlab(GitLab.Prepare, response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=x", "MAYFLY_BUILDS="+t.TempDir(), `CUSTOM_ENV_CI_JOB_SERVICES=[{"name":"redis"}]`),
		"the job's image: ":                      gitlab(GitLab.Prepare, response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=--log=/x"),
		"service --bind=/:/x: the job's image":   gitlab(GitLab.Prepare, response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=x", "MAYFLY_BUILDS="+t.TempDir(), `CUSTOM_ENV_CI_JOB_SERVICES=[{"name":"--bind=/:/x","command":["x"]}]`),
		"option --network join:x":                github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"--network join:x"}}}`, "RUNNER_NAME=r"),
		"option --env HOME: want NAME=VALUE":     github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"--env=HOME"}}}`, "RUNNER_NAME=r"),
		"option -e HOME: want":                   github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"-e HOME"}}}`, "RUNNER_NAME=r"),
		"the job's image":                        github(`{"command":"prepare_job","args":{"container":{"image":"--log=/x"}}}`, "RUNNER_NAME=r"),
		"the job's image: image":                 github(`{"command":"run_container_step","args":{"image":"--log=/x","entryPoint":"x"}}`, "RUNNER_NAME=r"),
		"the job's ima":                          buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=--log=/x"),
		"option --log: a workflow may ask for":   github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"--cpus 1 --log /x"}}}`, "RUNNER_NAME=r"),
		"option --name=x: a workflow":            github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"--name=x"}}}`, "RUNNER_NAME=r"),
		"option x: a workflow":                   github(`{"command":"prepare_job","args":{"container":{"image":"x","createOptions":"--cpus 1 x"}}}`, "RUNNER_NAME=r"),
		"option --cpus: it needs a value":        github(`{"command":"run_container_step","args":{"image":"x","entryPoint":"x","createOptions":"--cpus"}}`, "RUNNER_NAME=r"),
		"on standard input: unexpected end":      github("", "RUNNER_NAME=r"),
		"on standard input: json":                github("[1]", "RUNNER_NAME=r"),
		"RUNNER_NAME is not set":                 github("{}"),
		`the runner asks for "dance"`:            github(`{"command":"dance"}`, "RUNNER_NAME=r"),
		"give the job a container":               github(`{"command":"prepare_job","args":{"services":[{"image":"x"}]}}`, "RUNNER_NAME=r"),
		"volume data: a workflow has no":         github(`{"command":"prepare_job","args":{"container":{"image":"x","userMountVolumes":[{"sourceVolumePath":"data","targetVolumePath":"/d"}]}}}`, "RUNNER_NAME=r"),
		"prepare_job has not been called":        github(`{"command":"run_script_step","args":{"entryPoint":"sh"}}`, "RUNNER_NAME=r"),
		"run_script_step: json":                  github(`{"command":"run_script_step","args":[]}`, "RUNNER_NAME=r"),
		"an action with a Dockerfile":            github(`{"command":"run_container_step","args":{"dockerfile":"x"}}`, "RUNNER_NAME=r"),
		"without an entrypoint":                  github(`{"command":"run_container_step","args":{"image":"x"}}`, "RUNNER_NAME=r"),
		"BUILDKITE_JOB_ID is not set":            buildkite(),
		"names no image, and no image follows":   buildkite("BUILDKITE_JOB_ID=1"),
		"BUILDKITE_COMMAND is empty":             buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=x"),
		`BUILDKITE_BUILD_CHECKOUT_PATH is ""`:    buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=x", "BUILDKITE_COMMAND=x"),
		"is not below BUILDKITE_BUILD_PATH":      buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=x", "BUILDKITE_COMMAND=x", "BUILDKITE_BUILD_PATH="+t.TempDir(), "BUILDKITE_BUILD_CHECKOUT_PATH=/tmp"),
		"BUILD_PATH /":                           buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=x", "BUILDKITE_COMMAND=x", "BUILDKITE_BUILD_PATH=/usr", "BUILDKITE_BUILD_CHECKOUT_PATH=/usr"),
		"BUILDKITE_ENV_FILE: open /no/such/file": buildkite("BUILDKITE_JOB_ID=1", "BUILDKITE_PLUGIN_MAYFLY_IMAGE=x", "BUILDKITE_COMMAND=x", "BUILDKITE_BUILD_PATH=/usr", "BUILDKITE_BUILD_CHECKOUT_PATH=/usr/bin", "BUILDKITE_ENV_FILE=/no/such/file"),
	} {
		m := &fake{}
		err := do(m)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		for _, asked := range m.asked {
			if !strings.HasPrefix(asked, "release ") {
				t.Errorf("%s: %s", want, asked)
			}
		}
	}
}

func TestGitHub(t *testing.T) {
	response := filepath.Join(t.TempDir(), "response.json")
	m := &fake{code: 1}
	g := GitHub{Machine: m, Setup: Setup{Flags: []string{"--memory", "4G"}, Variables: variables("RUNNER_NAME=host/one")}}
	name := "gh-" + safe("host/one")
	do := func(input string) int {
		t.Helper()
		code, err := g.Do(strings.NewReader(input))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	do(`{"command":"prepare_job","responseFile":"` + response + `","state":{},"args":{"container":{"image":"deb12","workingDirectory":"/__w/a/a","createOptions":"--cpus 1",
		"environmentVariables":{"A":"b=c"},"systemMountVolumes":[{"sourceVolumePath":"/var/run/docker.sock","targetVolumePath":"/var/run/docker.sock"},
		{"sourceVolumePath":"/r/_work:x","targetVolumePath":"/__w","readOnly":false},{"sourceVolumePath":"/r/ext","targetVolumePath":"/__e","readOnly":true}]},
		"services":[{"contextName":"db","image":"pg","entryPoint":"run","entryPointArgs":["it"],"environmentVariables":{"CI":"no"}}]}}`)
	if code := do(`{"command":"run_script_step","state":{"container":"` + name + `"},"args":{"entryPoint":"bash","entryPointArgs":["-e","x"],"environmentVariables":{"A":"b"},"prependPath":["/p","/q"],"workingDirectory":"/__w/a/a"}}`); code != 1 {
		t.Errorf("exit status %d", code)
	}
	do(`{"command":"run_container_step","state":{"network":"join:x"},"args":{"image":"tool","entryPoint":"/entry","workingDirectory":"/__w"}}`)
	do(`{"command":"cleanup_job"}`)
	m.want(t, "release "+name,
		`hold `+name+` deb12 ["--writable" "--bind" "/r/_work\\:x:/__w" "--bind-ro" "/r/ext:/__e" "--cpus" "1" "--memory" "4G" "--network" "private" "--add-host" "db:127.0.0.1"] ["A=b=c" "CI=true" "GITHUB_ACTIONS=true"] []`,
		`hold `+name+`-1 pg ["--writable" "--memory" "4G" "--no-host-binds" "--chdir" "/" "--network" "join:`+name+`"] ["CI=no" "GITHUB_ACTIONS=true"] ["run" "it"]`,
		`exec `+name+` ["test" "-e" "/etc/alpine-release"] [] / <`,
		`exec `+name+` ["sh" "-c" "PATH=$1:$PATH; export PATH; shift; exec \"$@\"" "sh" "/p:/q" "bash" "-e" "x"] ["A=b" "CI=true" "GITHUB_ACTIONS=true"] /__w/a/a <`,
		`run `+name+`-step tool ["--writable" "--memory" "4G" "--die-with-parent" "--network" "join:x" "--chdir" "/__w"] ["CI=true" "GITHUB_ACTIONS=true"] ["/entry"]`,
		"release "+name)
	var got struct {
		State    struct{ Container string }
		Context  struct{ Container, Services any }
		IsAlpine *bool
	}
	data, err := os.ReadFile(response)
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil || got.State.Container != name || got.IsAlpine == nil || *got.IsAlpine || fmt.Sprint(got.Context.Services) != "[map[id:"+name+"-1]]" {
		t.Errorf("%v: %s", err, data)
	}
}

func TestBuildkite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	if err := os.WriteFile(file, []byte("A=\"b\"\nBUILDKITE_AGENT_ACCESS_TOKEN=\"x\"\nTEXT=\"one\\ntwo\"\nnot an entry\n1A=\"b\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &fake{code: 7}
	b := Buildkite{Machine: m, Setup: Setup{Image: "deb12", Flags: []string{"--cpus", "2"}, Variables: variables("BUILDKITE_JOB_ID=0190-ab", "BUILDKITE_COMMAND=make; make check", "BUILDKITE_BUILD_CHECKOUT_PATH="+dir, "BUILDKITE_BUILD_PATH="+filepath.Dir(dir), "BUILDKITE_ENV_FILE="+file)}}
	if code, err := b.Command(); code != 7 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if err := b.PreExit(); err != nil {
		t.Error(err)
	}
	name := "bk-" + safe("0190-ab")
	m.want(t, `run `+name+` deb12 ["--writable" "--die-with-parent" "--chdir" "`+dir+`" "--bind" "`+dir+`:`+dir+`" "--env" "CI" "--env" "BUILDKITE" "--env" "A" "--env" "TEXT" "--cpus" "2"] [] ["/bin/sh" "-e" "-c" "make; make check"]`, "release "+name)
}

func TestSafeNames(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{"17", "a-b", "a_b", "a.b", "ä", strings.Repeat("x", 24), strings.Repeat("x", 25), strings.Repeat("x", 26), "../x", ""} {
		name := safe(text)
		if other, is := seen[name]; is || strings.Contains(name, "-") || len(name) > 40 {
			t.Errorf("%q is %q, as %q", text, name, other)
		}
		seen[name] = text
	}
}

// With a helper's image nothing of a job runs outside.
func TestGitLabsHelper(t *testing.T) {
	dir := t.TempDir()
	m := &fake{}
	g := GitLab{Machine: m, Setup: Setup{Helper: "tools", Flags: []string{"--cpus", "2"}, Variables: variables(response(t, aJob), "CUSTOM_ENV_CI_JOB_IMAGE=deb12", "MAYFLY_BUILDS="+dir)}}
	if err := g.Prepare(); err != nil {
		t.Fatal(err)
	}
	if code, err := g.Run("s", "get_sources"); code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	m.want(t, "release gl-17",
		fmt.Sprintf(`hold gl-17-helper tools ["--writable" "--bind" "%s:%s" "--cpus" "2" "--chdir" "/"] [] []`, dir, dir),
		fmt.Sprintf(`hold gl-17 deb12 ["--writable" "--bind" "%s:%s" "--cpus" "2"] [] []`, dir, dir),
		fmt.Sprintf(`exec gl-17-helper ["sh" "-c" %q] [] / <s`, script))
}

// --helper for prepare alone would run the runner's scripts on the host.
func TestGitLabsHelperIsForRunToo(t *testing.T) {
	m := &fake{held: "gl-17-helper"}
	g := GitLab{Machine: m, Setup: Setup{Variables: variables(response(t, aJob))}}
	if _, err := g.Run("s", "get_sources"); err == nil || len(m.asked) > 0 {
		t.Errorf("%v, %q", err, m.asked)
	}
}

// The ports of a service are those of the job's network.
func TestPortsOfAService(t *testing.T) {
	m := &fake{}
	g := GitHub{Machine: m, Setup: Setup{Variables: variables("RUNNER_NAME=r")}}
	_, err := g.Do(strings.NewReader(`{"command":"prepare_job","responseFile":"` + filepath.Join(t.TempDir(), "r") + `","args":{"container":{"image":"x"},"services":[{"contextName":"db","image":"pg","entryPoint":"run","portMappings":["5432:5432","99"]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	m.want(t, "release gh-r", `hold gh-r x ["--writable" "--network" "private" "--publish" "5432:5432" "--add-host" "db:127.0.0.1"] ["CI=true" "GITHUB_ACTIONS=true"] []`,
		`hold gh-r-1 pg ["--writable" "--no-host-binds" "--chdir" "/" "--network" "join:gh-r"] ["CI=true" "GITHUB_ACTIONS=true"] ["run"]`,
		`exec gh-r ["test" "-e" "/etc/alpine-release"] [] / <`)
}

// A port without one of the host's gives a job no network of its own that a step could
// join.
func TestAPortOfTheContainersAlone(t *testing.T) {
	m := &fake{}
	g := GitHub{Machine: m, Setup: Setup{Variables: variables("RUNNER_NAME=r")}}
	file := filepath.Join(t.TempDir(), "r")
	for ports, want := range map[string]string{`"99"`: `"network":""`, `"98:99"`: `"network":"join:gh-r"`} {
		if _, err := g.Do(strings.NewReader(`{"command":"prepare_job","responseFile":"` + file + `","args":{"container":{"image":"x","portMappings":[` + ports + `]}}}`)); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %s, %v, want %s", ports, data, err, want)
		}
	}
}
