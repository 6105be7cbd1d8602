package attack

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A heldLock is a lock that a process of a caller's can hold, at any moment of which
// they may stop it.
type heldLock struct {
	what string
	code []string // where it is taken: FILE CALL, below runtime
	lock string   // for the helper: kind and path, with UID and STORE to be filled in
	once string   // a file to make first, "": it is there
}

// heldLocks are all of them. The test looks through the code for others.
var heldLocks = []heldLock{
	{"the turn of one's own containers and sessions", []string{"state/turn.go Turn", "state/turn.go TryTurn", "state/state.go TryTurn"}, "x:/run/mayfly/UID", ""},
	{"the record of a container", []string{"state/state.go Mark"}, "w:/run/mayfly/UID/ghost", "/run/mayfly/UID/ghost"},
	{"a version in use", []string{"image/image.go MarkShared"}, "r:STORE/attack-held/1.json", ""},
	{"a session in use, and being ended", []string{"image/session.go MarkShared", "image/sessionchange.go Mark"}, "r:STORE/.sessions/UID.held/session.json", ""},
	{"a session that is being made or removed, a draft, an orphan", []string{"image/hold.go Mark"},
		"w:STORE/.mayfly/.session-UID.ghost.0123456789abcdef.held", "STORE/.mayfly/.session-UID.ghost.0123456789abcdef.held"},
	{"an orphan of an earlier version of the program", []string{"image/hold.go TryTurn"}, "x:STORE/.mayfly/.new-0123456789abcdef", "STORE/.mayfly/.new-0123456789abcdef/"},
	{"the leases of private networks", []string{"network/lease.go TurnShared"}, "s:/run/mayfly-network", "/run/mayfly-network/"},
	{"a lease", []string{"network/lease.go Mark"}, "w:/run/mayfly-network/10.87.0.250", "/run/mayfly-network/10.87.0.250"},
}

// rootsLocks are taken by root alone.
var rootsLocks = []string{"image/version.go Turn", "image/collect.go TryTurn", "image/remove.go Mark", "image/remove.go TryTurn", "image/part.go TryTurn", "image/store.go TryTurn", "network/lease.go TryTurn"}

func TestC31EveryLockIsInTheTable(t *testing.T) {
	known := slices.Clone(rootsLocks)
	for _, l := range heldLocks {
		known = append(known, l.code...)
	}
	var found []string
	take := regexp.MustCompile(`\block\.(Mark|MarkShared|Turn|TurnShared|TryTurn)\b`)
	raw := regexp.MustCompile(`\b(Flock|FcntlFlock|F_OFD_SETLKW?|F_SETLKW?|Lockf)\(|unix\.F_(OFD_)?SETLK`)
	kit.Must(t, filepath.Walk("../../runtime", func(name string, _ os.FileInfo, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		short := strings.TrimPrefix(name, "../../runtime/")
		for _, m := range take.FindAllStringSubmatch(string(text), -1) {
			found = append(found, short+" "+m[1])
		}
		if filepath.Dir(short) != "internal/lock" && raw.Match(text) {
			t.Errorf("%s locks by itself, want package lock", short)
		}
		return err
	}))
	slices.Sort(known)
	slices.Sort(found)
	if found = slices.Compact(found); !slices.Equal(known, found) {
		t.Errorf("in the code %q\nin the table %q", found, known)
	}
}

// fill fills in a path.
func fill(text string, uid uint32) string {
	return strings.NewReplacer("UID", fmt.Sprint(uid), "STORE", kit.Store).Replace(text)
}

// stopped starts the helper with locks and waits until it has them and has stopped.
func stopped(t *testing.T, locks ...string) {
	t.Helper()
	cmd := exec.Command(helper, append([]string{"hold"}, locks...)...)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	cmd.Stderr = os.Stderr
	begin(t, cmd)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the helper says %q, %v", line, err)
	}
	kit.Eventually(t, "the helper has stopped", func() bool {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return strings.Contains(string(data), ") T ")
	})
}

// bound is within what time every command must end that meets a lock.
const bound = 30 * time.Second

// The test user's and root's commands, while another user's processes hold every lock
// that they can and have been stopped.
func TestC31LocksOfStoppedProcesses(t *testing.T) {
	kit.Succeed(t, "image", "import", "attack-held", smallTree(t))
	t.Cleanup(func() { kit.Succeed(t, "image", "remove", "attack-held") })
	_, uid, _ := kit.Lookup(t, kit.Other)
	rule(t, kit.AllModes)
	w := ways[0]
	kit.Must(t, w.setUp())
	t.Cleanup(func() { _ = os.Remove(dropIn); kit.Must(t, w.setUp()) })
	other := func(args ...string) *exec.Cmd { return w.as(t, kit.Other, w.args(args...)...) }
	if r := kit.Do(t, other("session", "begin", "--name", "held", kit.Image)); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	t.Cleanup(func() { _ = kit.Do(t, other("session", "end", "held")) })
	long := other("run", "--writable", "--name", "long", kit.Image, "sleep", "600")
	begin(t, long)
	supervisor := supervisorOf(t, long)
	kit.Must(t, syscall.Kill(supervisor, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(supervisor, syscall.SIGKILL); _ = long.Wait(); gc(t) })
	var locks []string
	for _, l := range heldLocks {
		if name := fill(l.once, uid); strings.HasSuffix(name, "/") {
			kit.Must(t, os.MkdirAll(name, 0o700))
		} else if name != "" {
			kit.Must(t, os.WriteFile(name, nil, 0o600))
		}
		if l.once != "" && l.once != "/run/mayfly-network/" {
			t.Cleanup(func() { _ = os.RemoveAll(fill(l.once, uid)) })
		}
		locks = append(locks, fill(l.lock, uid))
	}
	stopped(t, locks...)

	mine := w.cmd(t, "run", "--name", "mine", kit.Image, "sleep", "600")
	begin(t, mine)
	kit.Eventually(t, "a container of one's own", func() bool { return w.run(t, "exec", "mine", "true").Code == 0 })
	for _, args := range []string{
		"run IMAGE true", "run --writable IMAGE true", "run --name long IMAGE true", "run attack-held /bin/helper show", "run --network private --chdir / IMAGE true", "run --root --chdir / IMAGE true",
		"session begin --name held IMAGE", "session list", "run --session held -- true", "session end held", "ps", "ps --json", "inspect mine", "exec mine true", "gc",
		"image list", "image history attack-held", "store status", "policy explain IMAGE", "kill mine",
	} {
		r := kit.DoWithin(t, kit.Within(bound), w.cmd(t, strings.Fields(strings.ReplaceAll(args, "IMAGE", kit.Image))...))
		if r.Code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	_ = mine.Wait()
	for _, c := range [][2]string{
		{"gc", ""}, {"ps --all-users", ""}, {"image list", ""}, {"image history attack-held", ""}, {"session list --all-users", ""}, {"store status", ""}, {"image verify attack-held", ""},
		{"image import --next attack-held " + smallTree(t), ""}, {"image rollback attack-held", ""}, {"image rename attack-held attack-moved", ""}, {"image rename attack-moved attack-held", ""},
		{"image remove attack-held", "process"}, {"image remove --force --wait 1s attack-held", "process"}, {"session end " + kit.Other + "/held", "in use"},
	} {
		args, problem := c[0], c[1]
		r := kit.DoWithin(t, kit.Within(bound), exec.Command(kit.Runtime, strings.Fields(args)...))
		if (r.Code == 0) != (problem == "") || !strings.Contains(r.Err, problem) {
			t.Errorf("root's %s: %+v, want %q", args, r, problem)
		}
	}
	if out := kit.Succeed(t, "ps", "--all-users", "--names"); !strings.Contains(out, "ghost") || !strings.Contains(out, "long") {
		t.Errorf("root does not see everything that lives: %q", out)
	}
}

// smallTree makes a directory with a program.
func smallTree(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	kit.Must(t, exec.Command("sh", "-ec", "mkdir -p "+tree+"/bin; cp "+helper+" "+tree+"/bin/helper").Run())
	return tree
}

// Whose own process holds their turn waits for it, and not for ever.
func TestC31OnesOwnTurn(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	kit.Must(t, os.MkdirAll(fill("/run/mayfly/UID", uid), 0o700))
	stopped(t, fill("x:/run/mayfly/UID", uid))
	r := kit.DoWithin(t, kit.Within(bound), ways[0].cmd(t, "run", kit.Image, "true"))
	refused(t, "a launch", r, "is a runtime of yours stopped?")
	// Others, and root, have a turn of their own.
	if r := kit.DoWithin(t, kit.Within(bound), ways[0].as(t, kit.Other, ways[0].args("run", kit.Image, "true")...)); r.Code != 0 {
		t.Errorf("another user: %+v", r)
	}
	if r := kit.Root(t, "gc"); r.Code != 0 {
		t.Errorf("gc: %+v", r)
	}
}

// Launches of one user are stopped, each at another moment; then everybody else goes
// on.
func TestC31StoppedAtAnyMoment(t *testing.T) {
	w := ways[0]
	var launches []*exec.Cmd
	for i := range kit.Rounds(40, 400) {
		args := [][]string{{"run", kit.Image, "true"}, {"run", "--writable", kit.Base, "true"}, {"gc"}, {"ps"}, {"image", "list"}, {"session", "begin", "--name", fmt.Sprint("s", i), kit.Image}}[i%6]
		cmd := w.as(t, kit.Other, w.args(args...)...)
		begin(t, cmd)
		time.Sleep(kit.Within(time.Duration(i*7919%30000) * time.Microsecond))
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		launches = append(launches, cmd)
	}
	for _, args := range [][]string{{"run", kit.Image, "true"}, {"run", "--writable", kit.Base, "true"}, {"session", "begin", "--name", "one", kit.Image}, {"session", "end", "one"}, {"gc"}, {"ps"}, {"image", "list"}} {
		if r := kit.DoWithin(t, kit.Within(bound), w.cmd(t, args...)); r.Code != 0 {
			t.Errorf("%v: %+v", args, r)
		}
		if r := kit.DoWithin(t, kit.Within(bound), exec.Command(kit.Runtime, args...)); r.Code != 0 {
			t.Errorf("root's %v: %+v", args, r)
		}
	}
	for _, cmd := range launches {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	gc(t)
	for _, name := range strings.Fields(kit.Succeed(t, "session", "list", "--all-users", "--names")) {
		_ = kit.Root(t, "session", "end", kit.Other+"/"+name)
	}
	kit.NothingLeft(t)
}

// A program inside can open the root directory, lock it, and hand it to somebody
// outside: that keeps nothing from being removed.
func TestC37RootDirectoryHandedOut(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		socket := filepath.Join(dir, "socket")
		outside := kit.As(t, kit.User, helper, "borrow", socket)
		out, err := outside.StdoutPipe()
		kit.Must(t, err)
		begin(t, outside)
		t.Cleanup(func() { _ = outside.Process.Kill(); _ = outside.Wait() })
		said := bufio.NewReader(out)
		expect := func(want string) {
			t.Helper()
			if line, err := said.ReadString('\n'); line != want+"\n" {
				t.Fatalf("outside: %q, %v", line, err)
			}
		}
		expect("listening")
		cmd := w.cmd(t, "run", "--writable", "--bind-ro", helper+":/mnt/helper", kit.Base, "/mnt/helper", "lend", "/", socket)
		begin(t, cmd)
		expect("borrowed, locked")
		kit.Must(t, syscall.Kill(supervisorOf(t, cmd), syscall.SIGKILL))
		_ = cmd.Wait()
		gc(t)
	})
}

// The sessions that are being made and removed count, and one whose begin or end has
// been stopped for a day is root's to remove.
func TestC38SessionsThatAreBegun(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		_, uid, _ := kit.Lookup(t, kit.User)
		rule(t, allow+"writable = true\nlimits.sessions = 3\n")
		start := func(name string) kit.Result { return w.run(t, "session", "begin", "--name", name, kit.Image) }
		drafts := []string{fill("STORE/.mayfly/.session-UID.ghost.0123456789abcdef", uid), fill("STORE/.mayfly/.ended-UID.gone.0123456789abcdef", uid)}
		for _, draft := range drafts {
			kit.Must(t, os.Mkdir(draft, 0o700))
			kit.Must(t, os.WriteFile(draft+".held", nil, 0o600))
		}
		stopped(t, "w:"+drafts[0]+".held", "w:"+drafts[1]+".held")
		refused(t, "the name of one that is being made", start("ghost"), "exists")
		if r := start("one"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
		refused(t, "one too many", start("two"), "too many sessions")
		for _, draft := range drafts {
			if r := kit.Root(t, "gc"); r.Code != 0 || statOf(draft) != nil {
				t.Errorf("gc removes what is being made, or removed: %+v", r)
			}
			ago := time.Now().Add(-48 * time.Hour)
			kit.Must(t, os.Chtimes(draft+".held", ago, ago))
			if r := kit.Root(t, "gc"); r.Code != 0 || statOf(draft) == nil || statOf(draft+".held") == nil {
				t.Errorf("gc keeps it for ever: %+v", r)
			}
		}
		if r := w.run(t, "session", "end", "one"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
}
