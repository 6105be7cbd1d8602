package build

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
	"mayfly/runtime/inputs"
	"mayfly/runtime/provenance"
)

// as runs the program as the ordinary user in a directory.
func as(t *testing.T, dir string, args ...string) kit.Result {
	t.Helper()
	cmd := kit.As(t, kit.User, append([]string{kit.Runtime}, args...)...)
	cmd.Dir = dir
	return kit.DoWithin(t, kit.Within(20*60*1e9), cmd)
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(name)
	kit.Must(t, err)
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v: %s", name, err, data)
	}
}

// Software that nobody here wrote is built twice, the second time by what the statement
// of the first tells: the same files come out, and the same inputs have gone in.
func TestBuildsAreProved(t *testing.T) {
	packages := []struct{ name, script, output string }{
		{"zlib", "./configure && make -j2", "libz.so.1.2.13"},
		{"hello", "./configure --disable-dependency-tracking && make -j2", "hello"},
		{"xz-utils", "./configure --disable-nls --disable-dependency-tracking && make -j2", "src/xz/.libs/xz"},
	}
	for _, c := range packages[:kit.Rounds(len(packages)-1, len(packages))] {
		t.Run(c.name, func(t *testing.T) {
			work := kit.WorkDirectory(t, kit.User)
			statement := filepath.Join(work, "build.json")
			record := filepath.Join(work, "inputs.json")
			tree := unpack(t, c.name)
			r := as(t, tree, "run", "--quiet", "--inputs", record, "--provenance", statement, "--output", c.output, kit.Sealed, "--", "sh", "-ec", c.script)
			if r.Code != 0 {
				t.Fatalf("%s", tail([]byte(r.Out+r.Err)))
			}
			var s provenance.Statement
			readJSON(t, statement, &s)
			if len(s.Subject) != 1 || s.Subject[0].Name != c.output {
				t.Errorf("%+v", s.Subject)
			}
			var first, second inputs.Report
			readJSON(t, record, &first)
			if !first.Complete || len(first.Packages) < 10 {
				t.Errorf("%v, %+v", first.Missed, first.Packages)
			}
			if r := as(t, tree, "verify-provenance", "--here", statement); r.Code != 125 || !strings.Contains(r.Err, "is there already") {
				t.Errorf("among the outputs of the first: %+v", r)
			}
			tree = unpack(t, c.name)
			if r := as(t, tree, "verify-provenance", "--here", statement); r.Code != 0 || r.Out != "reproducible: 1 file as in the statement\n" {
				t.Errorf("%s%s", r.Out, tail([]byte(r.Err)))
			}
			tree = unpack(t, c.name)
			if r := as(t, tree, "run", "--quiet", "--inputs", record, kit.Sealed, "--", "sh", "-ec", c.script); r.Code != 0 {
				t.Fatalf("%s", tail([]byte(r.Out+r.Err)))
			}
			readJSON(t, record, &second)
			if names(first) != names(second) {
				t.Errorf("the first has used %s, the second %s", names(first), names(second))
			}
		})
	}
	kit.NothingLeft(t)
}

// names are the packages that a build has used.
func names(r inputs.Report) string {
	var list []string
	for _, p := range r.Packages {
		list = append(list, p.Name)
	}
	return strings.Join(list, " ")
}

// repository makes a repository with a project, whose file's command is build.
func repository(t *testing.T, build string) string {
	t.Helper()
	dir := kit.WorkDirectory(t, kit.User)
	script := `set -e; cd "$1"; git init -q .; git config user.email me@example.org; git config user.name Me
printf 'image = "%s"\noutput = ["out"]\n[env]\nCOLOR = "red"\n[commands]\nbuild = """%s"""\n' "$2" "$3" >mayfly.toml
git remote add origin https://me:secret@example.org/p.git; mkdir sub; touch sub/x; echo 'out*' >.gitignore; git add .; git commit -qm first`
	if r := kit.Do(t, kit.As(t, kit.User, "sh", "-c", script, "sh", dir, kit.Sealed, build)); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	return dir
}

func TestAStatementTellsTheSource(t *testing.T) {
	dir := repository(t, "echo $COLOR >out")
	run := func(args ...string) provenance.Statement {
		t.Helper()
		name := filepath.Join(dir, ".git", "statement.json")
		cmd := kit.As(t, kit.User, append([]string{kit.Runtime, "run", "--quiet", "--provenance", name}, args...)...)
		cmd.Dir, cmd.Env = filepath.Join(dir, "sub"), append(cmd.Env, "TOKEN=secret-token", "TOLD=told")
		if r := kit.Do(t, cmd); r.Code != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
		var s provenance.Statement
		readJSON(t, name, &s)
		return s
	}
	s := run("--env", "TOKEN", "--env", "TOLD", "--env", "SECRET=secret-value", "--provenance-env", "TOLD", "build")
	text, err := s.Encode()
	kit.Must(t, err)
	head, err := exec.Command("git", "-c", "safe.directory="+dir, "-C", dir, "rev-parse", "HEAD").Output()
	kit.Must(t, err)
	d := s.Predicate.Definition
	source := d.Dependencies[1]
	if source.Digest["gitCommit"] != strings.TrimSpace(string(head)) || source.Annotations["dirty"] != false || source.Annotations["directory"] != "." || source.URI != "git+https://example.org/p.git@"+strings.TrimSpace(string(head)) {
		t.Errorf("%+v", source)
	}
	if image := d.Dependencies[0]; d.Parameters.Image != strings.Replace(kit.Sealed, "@", "", 1)+"@sha256:"+image.Digest["sha256"] || image.Annotations["origin"] == nil {
		t.Errorf("%+v", image)
	}
	if strings.Contains(string(text), "secret") || *d.Parameters.Env["COLOR"] != "red" || *d.Parameters.Env["TOLD"] != "told" || d.Parameters.Env["TOKEN"] != nil || d.Parameters.Project != dir || d.Parameters.Directory != dir {
		t.Errorf("%s", text)
	}
	if _, named := d.Parameters.Env["SECRET"]; !named || !strings.HasPrefix(d.Internal.Rule, "/etc/mayfly/") {
		t.Errorf("%s", text)
	}
	// From the commit of the statement it is built again, whatever the directory has
	// now.
	kit.Must(t, os.WriteFile(filepath.Join(dir, "mayfly.toml"), []byte("not = \"toml"), 0o644))
	if r := as(t, dir, "verify-provenance", ".git/statement.json"); r.Code != 0 || r.Out != "reproducible: 1 file as in the statement\n" {
		t.Errorf("%+v", r)
	}
}

// A statement makes nothing dirty, and what is changed or added does. A dirty statement
// has no commit to check out.
func TestDirtySources(t *testing.T) {
	dir := repository(t, "echo x >out")
	var s provenance.Statement
	for _, c := range []struct {
		change string
		dirty  bool
	}{{"true", false}, {"git config status.showUntrackedFiles no; touch new", true}, {"rm new; echo y >>sub/x", true}} {
		if r := kit.Do(t, inDirectory(kit.As(t, kit.User, "sh", "-c", c.change), dir)); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		if r := as(t, dir, "run", "--quiet", "--inputs", "inputs.json", "--provenance", "build.json", "build"); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		readJSON(t, filepath.Join(dir, "build.json"), &s)
		if commit := s.Commit(); commit.Dirty != c.dirty || len(s.Subject) != 1 {
			t.Errorf("%s: %+v, %+v", c.change, commit, s.Subject)
		}
		want := map[bool]string{false: "reproducible", true: "something had been changed: where there are the sources and no outputs, --here runs it"}[c.dirty]
		if r := as(t, dir, "verify-provenance", "build.json"); !strings.Contains(r.Out+r.Err, want) || (r.Code == 0) == c.dirty {
			t.Errorf("%s: %+v", c.change, r)
		}
		if r := as(t, dir, "verify-provenance", "--no-run", "build.json"); r.Code != 0 || r.Out != "here as in the statement: 1 file\n" {
			t.Errorf("%+v", r)
		}
	}
}

func inDirectory(cmd *exec.Cmd, dir string) *exec.Cmd {
	cmd.Dir = dir
	return cmd
}

// A project need not be the top of its repository. Where its path is not there, the
// build is elsewhere.
func TestAProjectBelowARepository(t *testing.T) {
	dir := repository(t, "pwd >/dev/null; cat sub2/x >out")
	script := "mkdir -p part/sub2; mv mayfly.toml part; echo x >part/sub2/x; git add .; git commit -qm second"
	if r := kit.Do(t, inDirectory(kit.As(t, kit.User, "sh", "-c", script), dir)); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := as(t, filepath.Join(dir, "part/sub2"), "run", "--quiet", "--provenance", "../../build.json", "build"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := as(t, dir, "verify-provenance", "build.json"); r.Code != 0 || r.Out != "reproducible: 1 file as in the statement\n" {
		t.Errorf("%+v", r)
	}
	kit.Must(t, os.Rename(filepath.Join(dir, "part"), filepath.Join(dir, "moved")))
	if r := as(t, dir, "verify-provenance", "build.json"); r.Code != 0 || !strings.Contains(r.Err, "here is no such directory") {
		t.Errorf("%+v", r)
	}
	if left, _ := filepath.Glob("/tmp/mayfly-verify-*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// The second run has the variables of the first, the last of each name, and tells none
// that was not to be told.
func TestVariablesOfAStatement(t *testing.T) {
	dir := repository(t, "echo $COLOR $TOLD >out")
	statement := filepath.Join(dir, ".git", "statement.json")
	run := func(env string, args ...string) provenance.Statement {
		t.Helper()
		_ = os.Remove(filepath.Join(dir, "out"))
		cmd := inDirectory(kit.As(t, kit.User, append(append([]string{kit.Runtime, "run", "--quiet", "--provenance", statement}, args...), "build")...), dir)
		cmd.Env = append(cmd.Env, env)
		if r := kit.Do(t, cmd); r.Code != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
		var s provenance.Statement
		readJSON(t, statement, &s)
		return s
	}
	s := run("A=1", "--env", "COLOR=a-secret")
	if text, err := s.Encode(); err != nil || strings.Contains(string(text), "a-secret") {
		t.Errorf("%v: %s", err, text)
	}
	s = run("TOLD=one", "--env", "COLOR=blue", "--env", "COLOR=green", "--env", "TOLD", "--provenance-env", "TOLD", "--provenance-env", "COLOR")
	if p := s.Predicate.Definition.Parameters; *p.Env["COLOR"] != "green" || *p.Env["TOLD"] != "one" {
		t.Errorf("%+v", p)
	}
	if r := as(t, dir, "verify-provenance", statement); r.Code != 0 || strings.Contains(r.Err, "not told") {
		t.Errorf("%+v", r)
	}
	// The caller's limits are the command's, and not the program's.
	cmd := inDirectory(kit.As(t, kit.User, "sh", "-c", "rm out; ulimit -Sn 20; exec "+kit.Runtime+" run --quiet --provenance "+statement+" build"), dir)
	if r := kit.Do(t, cmd); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBeProved(t *testing.T) {
	dir := repository(t, "date +%s.%N >out; echo same >out2")
	statement := filepath.Join(dir, ".git", "statement.json")
	if r := as(t, dir, "run", "--quiet", "--provenance", statement, "--output", "out", "--output", "out2", "build"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	r := as(t, dir, "verify-provenance", statement)
	if r.Code != 1 || r.Out != "not reproducible: 1 of 2 files\ndiffers  out\n" {
		t.Errorf("%+v", r)
	}
	// What was there is not what the run has made.
	if r := as(t, dir, "run", "--quiet", "--provenance", statement, kit.Sealed, "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "no --output GLOB") {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{`output "out": it was there before the run`, 125, []string{"run", "--provenance", statement, "--output", "out", kit.Sealed, "--", "true"}},
		{"--output none*: the build has made no such file", 125, []string{"run", "--provenance", statement, "--output", "none*", kit.Sealed, "--", "true"}},
		{"it was there before the run", 7, []string{"run", "--provenance", statement, "--output", "out", kit.Sealed, "--", "sh", "-c", "exit 7"}},
		{"want one that begins in the working directory", 125, []string{"run", "--provenance", statement, "--output", "../x", kit.Sealed, "--", "true"}},
		{"has no versions, so no digest", 125, []string{"run", "--provenance", statement, "--output", "out", kit.Base, "--", "true"}},
		{"--output belongs to --provenance", 125, []string{"run", "--output", "out", kit.Sealed, "--", "true"}},
		{"--sign belongs to --provenance", 125, []string{"run", "--sign", "key", kit.Sealed, "--", "true"}},
		{"--sign: stat /nosuch", 125, []string{"run", "--provenance", statement, "--output", "x", "--sign", "/nosuch", kit.Sealed, "--", "true"}},
		{"want an image with versions", 125, []string{"run", "--provenance", statement, "--output", "x", "--session", "s", "--", "true"}},
		{"not what `runtime run --provenance` writes", 125, []string{"verify-provenance", "/etc/passwd"}},
		{"--provenance and --user exclude each other", 125, []string{"run", "--provenance", statement, "--output", "x", "--user", kit.User, kit.Sealed, "--", "true"}},
		{"the signature stands beside", 125, []string{"run", "--provenance", "/proc/self/fd/1", "--output", "x", "--sign", statement, kit.Sealed, "--", "true"}},
		{"no STATEMENT given", 125, []string{"verify-provenance"}},
		{"no such file", 125, []string{"verify-provenance", "/nosuch"}},
	} {
		if r := as(t, dir, c.args...); r.Code != c.code || !strings.Contains(r.Err, c.want) {
			t.Errorf("%q: %+v, want %s", c.args, r, c.want)
		}
	}
	// A statement stays until there is another, and a failing build has one with its
	// status.
	before, err := os.ReadFile(statement)
	kit.Must(t, err)
	if r := as(t, dir, "run", "--quiet", "--provenance", statement, "--output", "none", kit.Sealed, "--", "true"); r.Code != 125 {
		t.Errorf("%+v", r)
	}
	if after, err := os.ReadFile(statement); err != nil || string(after) != string(before) {
		t.Errorf("%v: %s", err, after)
	}
	fresh := filepath.Join(dir, ".git", "fresh.json")
	for _, command := range []string{"true", "no-such-command"} {
		as(t, dir, "run", "--quiet", "--provenance", fresh, "--inputs", fresh+"2", "--output", "none", kit.Sealed, "--", command)
		if _, err := os.Lstat(fresh); err == nil {
			t.Errorf("%s leaves a statement", command)
		}
	}
	if r := as(t, dir, "run", "--quiet", "--provenance", fresh, "--output", "out3", kit.Sealed, "--", "sh", "-c", "echo x >out3; exit 3"); r.Code != 3 {
		t.Errorf("%+v", r)
	}
	if r := as(t, dir, "verify-provenance", fresh); r.Code != 0 || r.Out != "reproducible: 1 file as in the statement\n" {
		t.Errorf("%+v", r)
	}
	kit.NothingLeft(t)
}

// A statement that somebody else has signed, or changed since, is not run.
func TestSignedStatements(t *testing.T) {
	dir := repository(t, "echo x >out")
	keys := kit.WorkDirectory(t, kit.User)
	script := `set -e; cd "$1"; ssh-keygen -q -t ed25519 -N "" -f own; ssh-keygen -q -t ed25519 -N "" -f other; for name in own other; do echo "$name@example.org $(cat $name.pub)" >$name.signers; done
minisign -G -W -p mini.pub -s mini.key >/dev/null; minisign -G -W -p mini2.pub -s mini2.key >/dev/null`
	if r := kit.Do(t, kit.As(t, kit.User, "sh", "-c", script, "sh", keys)); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	statement := filepath.Join(dir, ".git", "statement.json")
	for _, c := range []struct{ key, trusted, other, signature string }{{"own", "own.signers", "other.signers", ".sig"}, {"mini.key", "mini.pub", "mini2.pub", ".minisig"}} {
		for range 2 { // the second replaces the signature of the first
			if r := as(t, dir, "run", "--quiet", "--provenance", statement, "--sign", filepath.Join(keys, c.key), "build"); r.Code != 0 {
				t.Fatalf("%s: %+v", c.key, r)
			}
		}
		verify := func(signers string) kit.Result {
			return as(t, dir, "verify-provenance", "--signers", filepath.Join(keys, signers), statement)
		}
		if r := verify(c.trusted); r.Code != 0 || !strings.HasPrefix(r.Out, "reproducible") {
			t.Errorf("%s: %+v", c.key, r)
		}
		if r := verify(c.other); r.Code != 125 || strings.Contains(r.Err, "again: ") {
			t.Errorf("%s, signed by another: %+v", c.key, r)
		}
		text, err := os.ReadFile(statement)
		kit.Must(t, err)
		kit.Must(t, os.WriteFile(statement, []byte(strings.Replace(string(text), "echo x", "echo y", 1)), 0o644))
		if r := verify(c.trusted); r.Code != 125 || strings.Contains(r.Err, "again: ") {
			t.Errorf("%s, changed: %+v", c.key, r)
		}
		kit.Must(t, os.Remove(statement+c.signature))
		if r := verify(c.trusted); r.Code != 125 || strings.Contains(r.Err, "again: ") {
			t.Errorf("%s, without a signature: %+v", c.key, r)
		}
	}
	// The command's reports go behind what is in a descriptor, and a build that
	// replaces a record is told.
	log := filepath.Join(dir, "out.log")
	script = "echo before >" + log + "; exec 3>>" + log + "; " + kit.Runtime + " run --quiet --inputs /dev/fd/3 " + kit.Sealed + " -- true; echo after >>" + log
	if r := kit.Do(t, inDirectory(kit.As(t, kit.User, "sh", "-c", script), dir)); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(text), "before\n{") || !strings.HasSuffix(string(text), "}\nafter\n") {
		t.Errorf("%v: %.200s", err, text)
	}
	r := as(t, dir, "run", "--quiet", "--inputs", "record", kit.Sealed, "--", "sh", "-c", "rm record; echo {} >record")
	if r.Code != 125 || !strings.Contains(r.Err, "record has been replaced during the run") {
		t.Errorf("%+v", r)
	}
	// A build that puts another statement in the place of this one gets no signature.
	forge := "echo x >out; rm .git/statement.json; echo forged >.git/statement.json"
	for key, signature := range map[string]string{"own": ".sig", "mini.key": ".minisig"} {
		_ = os.Remove(filepath.Join(dir, "out"))
		r := as(t, dir, "run", "--quiet", "--provenance", statement, "--sign", filepath.Join(keys, key), "--output", "out", kit.Sealed, "--", "sh", "-c", forge)
		if _, err := os.Lstat(statement + signature); r.Code != 125 || !strings.Contains(r.Err, "has been replaced during the run") || err == nil {
			t.Errorf("%s: %+v, %v", key, r, err)
		}
	}
}
