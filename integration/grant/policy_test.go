package grant

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

const dropIn = "/etc/mayfly/policy.d/00-grant.toml"

// putRule puts a drop-in before the machine's policy, for as long as the test.
func putRule(t *testing.T, text string) {
	t.Helper()
	kit.Must(t, os.MkdirAll(filepath.Dir(dropIn), 0o755))
	kit.Must(t, os.WriteFile(dropIn, []byte(text), 0o644))
	t.Cleanup(func() { _ = os.Remove(dropIn) })
}

func TestExplainNamesTheLines(t *testing.T) {
	putRule(t, "[[rule]]\nimages = [\"explained\"]\ngroups = [\""+kit.Group+"\"]\nwritable = true\n\nlimits.time = \"4h\"\n[[rule]]\nimages = [\"explained\"]\ndeny = true\n")
	r := kit.Run(t, "policy", "explain", "explained")
	for _, want := range []string{"allowed by the rule at " + dropIn + ":1\n", "  4h  ", dropIn + ":6\n", "/etc/passwd /etc/group /opt", "built in\n"} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("explain: %+v, want %q", r, want)
		}
	}
	r = kit.Run(t, "policy", "explain", "--json", "explained")
	var told struct {
		Image, User, Decision, Rule string
		Exists                      bool
		Settings                    []struct {
			Name, Place string
			Value       any
		}
	}
	if err := json.Unmarshal([]byte(r.Out), &told); err != nil || len(told.Settings) < 15 || told.Exists || told.Image != "explained" || told.User != kit.User ||
		told.Decision != "allowed" || told.Rule != dropIn+":1" {
		t.Errorf("%v: %+v", err, r)
	}
	for _, s := range told.Settings {
		if want := map[string]string{"writable": "true", "limits.time": "4h", "images": "[explained]", "limits.memory": "<nil>"}[s.Name]; want != "" && fmt.Sprint(s.Value) != want {
			t.Errorf("%+v, want %s", s, want)
		}
	}
	if !strings.Contains(kit.Run(t, "policy", "explain", "explained").Out, "There is no such image yet: unknown image explained") {
		t.Error("nobody says that there is no such image")
	}
	if r := kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "policy", "explain", "--json", "explained")); r.Code != 125 || !strings.Contains(r.Out, `"decision": "denied"`) ||
		!strings.Contains(r.Out, dropIn+":7 denies it") {
		t.Errorf("denied: %+v", r)
	}
	for user, want := range map[string]string{kit.Other: dropIn + ":7 denies it", "root": "Root may ask for anything", "nosuchuser": "unknown user"} {
		if r := kit.Run(t, "policy", "explain", "--user", user, "explained"); !strings.Contains(r.Out+r.Err, want) {
			t.Errorf("explain --user %s: %+v, want %q", user, r, want)
		}
	}
	// What is explained is what is done.
	if r := kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "run", "explained", "true")); r.Code != 125 || !strings.Contains(r.Err, dropIn+":7 denies it") {
		t.Errorf("a launch: %+v", r)
	}
	if r := kit.Run(t, "policy", "check"); r.Code != 0 || !strings.HasSuffix(r.Out, "no mistakes, 2 warnings\n") ||
		!strings.HasPrefix(r.Out, dropIn+":2: warning: explained matches no image of the store") {
		t.Errorf("check: %+v", r)
	}
	if r := kit.Run(t, "policy", "check", "--strict"); r.Code != 125 {
		t.Errorf("check: %+v", r)
	}
	putRule(t, "[[rule]]\nimages = [\"x\"]\nwritabel = true\n")
	if r := kit.Run(t, "policy", "check"); r.Code != 125 || !strings.Contains(r.Err, dropIn+":3:1: unknown key \"writabel\"") {
		t.Errorf("check: %+v", r)
	}
	if r := kit.Run(t, "policy", "check", dropIn); r.Code != 125 || !strings.Contains(r.Err, dropIn+":3:1:") {
		t.Errorf("check FILE: %+v", r)
	}
}

// An image that no rule names is nobody's, whatever is in the store.
func TestDenyByDefault(t *testing.T) {
	const main = "/etc/mayfly/policy.toml"
	before, err := os.ReadFile(main)
	kit.Must(t, err)
	defer func() { kit.Must(t, os.WriteFile(main, before, 0o644)) }()
	kit.Must(t, os.WriteFile(main, []byte("[[rule]]\nimages = [\"other-*\"]\n"), 0o644))
	r := kit.Run(t, "run", kit.Image, "true")
	if r.Code != 125 || !strings.Contains(r.Err, "not allowed by the policy: no rule in /etc/mayfly matches this image and you") {
		t.Errorf("%+v", r)
	}
	if r := kit.Root(t, "run", kit.Image, "true"); r.Code != 0 {
		t.Errorf("root: %+v", r)
	}
	kit.Must(t, os.Remove(main))
	if r := kit.Run(t, "run", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "not allowed by the policy") {
		t.Errorf("without a policy: %+v", r)
	}
	// The grant brings the default one.
	install(t)
	if r := kit.Root(t, "grant", binary); r.Code != 0 || !strings.Contains(r.Out, main) {
		t.Errorf("grant: %+v", r)
	}
	if r := kit.Run(t, "run", kit.Image, "true"); r.Code != 0 {
		t.Errorf("with the default policy: %+v", r)
	}
}

func TestImportedRulesWork(t *testing.T) {
	places := t.TempDir()
	for name, text := range map[string]string{
		"chroot.d/build":                  "[imported]\ntype=btrfs-snapshot\nbtrfs-source-subvolume=/var/lib/machines/" + kit.Image + "\nusers=" + kit.User + "\npersonality=linux32\nprofile=builds\n",
		"builds/fstab":                    "/proc /proc none rw,bind 0 0\n/home /home none rw,bind 0 0\n/srv /srv none ro,bind 0 0\n",
		"nspawn/" + kit.Image + ".nspawn": "[Exec]\nPersonality=x86\n[Files]\nBind=/home\n",
	} {
		name = filepath.Join(places, name)
		kit.Must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		kit.Must(t, os.WriteFile(name, []byte(text), 0o644))
	}
	r := kit.Root(t, "policy", "import", filepath.Join(places, "chroot.d"))
	if r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	putRule(t, r.Out)
	if r := kit.Run(t, "run", kit.Image, "sh", "-c", "uname -m; grep -c ' /srv ' /proc/self/mountinfo"); r.Out != "i686\n1\n" {
		t.Errorf("schroot's rule: %+v in\n%s", r, r.Out)
	}
	r = kit.Root(t, "policy", "import", filepath.Join(places, "nspawn"))
	if r.Code != 0 || !strings.Contains(r.Out, `users = ["root"]`) {
		t.Errorf("%+v", r)
	}
	for _, place := range []string{"/nosuch", places} {
		if r := kit.Root(t, "policy", "import", place); r.Code != 125 || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("import %s: %+v", place, r)
		}
	}
}

// journald is started where no systemd has done it.
func journald(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/run/systemd/journal/socket"); err == nil {
		return
	}
	kit.Must(t, os.MkdirAll("/run/systemd/journal", 0o755))
	cmd := exec.Command("/lib/systemd/systemd-journald")
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll("/run/systemd/journal")
		_ = os.RemoveAll("/run/log/journal")
	})
	kit.Eventually(t, "journald listens", func() bool {
		_, err := os.Stat("/run/systemd/journal/socket")
		return err == nil
	})
}

func TestEachLaunchAndRefusalIsLogged(t *testing.T) {
	journald(t)
	putRule(t, "[[rule]]\nimages = [\"denied\"]\ndeny = true\n")
	began := time.Now().Format("2006-01-02 15:04:05")
	marker := "marker-" + time.Now().Format("150405.000")
	kit.Run(t, "run", kit.Image, "sh", "-c", "exit 3; # "+marker)
	kit.Run(t, "run", "denied", marker)
	kit.Run(t, "run", "--timeout", "100ms", kit.Image, "sh", "-c", "sleep 9; # "+marker)
	kit.Run(t, "run", kit.Image, marker)
	kit.Run(t, "run", "nosuchimage", marker)
	// A user's own word is not taken for ours.
	forger := kit.As(t, kit.User, "logger", "--journald")
	forger.Stdin = strings.NewReader("SYSLOG_IDENTIFIER=mayfly\nMAYFLY_UID=0\nMESSAGE=forged " + marker + "\n")
	if r := kit.Do(t, forger); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	var events, starts []map[string]string
	kit.Eventually(t, "the events are in the journal", func() bool {
		r := kit.Root(t, "log", "--json", "--since", began)
		events, starts = nil, nil
		for line := range strings.Lines(r.Out) {
			var e map[string]string
			switch {
			case json.Unmarshal([]byte(line), &e) != nil || !strings.Contains(line, marker):
			case e["MAYFLY_EVENT"] == "start":
				starts = append(starts, e)
			default:
				events = append(events, e)
			}
		}
		return len(events) >= 5
	})
	_, uid, _ := kit.Lookup(t, kit.User)
	for i, want := range []map[string]string{
		{"MAYFLY_DECISION": "allowed", "MAYFLY_RESULT": "exit 3", "MAYFLY_IMAGE": kit.Image, "MAYFLY_USER": kit.User},
		{"MAYFLY_DECISION": "refused", "MAYFLY_RULE": dropIn + ":1", "MAYFLY_IMAGE": "denied", "PRIORITY": "5", "MAYFLY_USER": kit.User},
		{"MAYFLY_DECISION": "allowed", "MAYFLY_RESULT": "time limit"},
		{"MAYFLY_DECISION": "allowed", "MAYFLY_RESULT": marker + ": command not found in the container's PATH"},
		{"MAYFLY_DECISION": "failed", "MAYFLY_IMAGE": "nosuchimage"},
	} {
		for name, value := range want {
			if events[i][name] != value {
				t.Errorf("event %d: %s is %q, want %q", i, name, events[i][name], value)
			}
		}
		if events[i]["_UID"] != "0" || events[i]["MAYFLY_DURATION"] == "" || events[i]["MAYFLY_UID"] != number(uid) {
			t.Errorf("event %d: %v", i, events[i])
		}
	}
	if len(starts) != 3 {
		t.Errorf("of three commands, these begin: %v", starts)
	}
	for _, e := range starts {
		if e["_UID"] != "0" || e["MAYFLY_IMAGE"] != kit.Image || e["MAYFLY_UID"] != number(uid) || e["MAYFLY_DIR"] != "/home/"+kit.User || e["MAYFLY_RESULT"] != "" {
			t.Errorf("a start: %v", e)
		}
	}
	if r := kit.Root(t, "log", "--since", began); strings.Contains(r.Out, "forged") || !strings.Contains(r.Out, marker) {
		t.Errorf("log: %+v", r)
	}
	// And none where the policy wants none.
	const main = "/etc/mayfly/policy.toml"
	before, err := os.ReadFile(main)
	kit.Must(t, err)
	defer func() { kit.Must(t, os.WriteFile(main, before, 0o644)) }()
	kit.Must(t, os.WriteFile(main, []byte(strings.Replace(string(before), "audit = true", "audit = false", 1)), 0o644))
	kit.Run(t, "run", kit.Image, "sh", "-c", "true # silent-"+marker)
	kit.Must(t, os.WriteFile(main, before, 0o644))
	kit.Run(t, "run", kit.Image, "sh", "-c", "true # last-"+marker)
	kit.Eventually(t, "the last event is in the journal", func() bool { return strings.Contains(kit.Root(t, "log").Out, "last-"+marker) })
	if strings.Contains(kit.Root(t, "log").Out, "silent-"+marker) {
		t.Error("audit = false, and an event all the same")
	}
}

// Where there is no journal, syslog has the events: in a mount namespace without the
// one and with a socket of the test's for the other.
func TestSyslogWhereThereIsNoJournal(t *testing.T) {
	dir := t.TempDir()
	kit.Must(t, os.Chmod(filepath.Dir(dir), 0o755))
	kit.Must(t, os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "log")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	kit.Must(t, err)
	defer listener.Close()
	kit.Must(t, os.Chmod(socket, 0o666))
	if _, err := os.Stat("/dev/log"); err != nil {
		kit.Must(t, os.WriteFile("/dev/log", nil, 0o644)) // to mount on
		defer os.Remove("/dev/log")
	}
	script := `[ ! -d /run/systemd/journal ] || { mount -t tmpfs tmpfs /run/systemd/journal; touch /run/systemd/journal/dev-log; }; mount --bind "$1" /dev/log; shift
		cd / && exec setpriv --reuid ` + kit.User + ` --regid ` + kit.User + ` --init-groups "$@"`
	r := kit.Do(t, exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", socket, kit.Runtime, "run", kit.Image, "sh", "-c", "exit 5"))
	if r.Code != 5 {
		t.Fatalf("%+v", r)
	}
	buffer := make([]byte, 4096)
	kit.Must(t, listener.SetReadDeadline(time.Now().Add(kit.Within(10*time.Second))))
	for _, want := range []string{"event=start", `result="exit 5"`} {
		n, err := listener.Read(buffer)
		if text := string(buffer[:n]); err != nil || !strings.HasPrefix(text, "<86>") || !strings.Contains(text, "image="+kit.Image) || !strings.Contains(text, want) {
			t.Errorf("%q, %v; want %s", text, err, want)
		}
	}
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// An administrator gives images to a team, and to nobody else.
func TestAFileForATeam(t *testing.T) {
	const file = "/etc/mayfly/policy.d/test-team.toml"
	t.Cleanup(func() { _ = os.Remove(file) })
	args := []string{"policy", "new", "--groups", kit.Group, "--images", kit.Image, "test-team"}
	if r := kit.Run(t, args...); r.Code != 125 || !strings.Contains(r.Err, "--print prints the file") {
		t.Errorf("a user: %+v", r)
	}
	kit.Succeed(t, args...)
	if r := kit.Root(t, args...); r.Code != 125 || !strings.Contains(r.Err, "file exists") {
		t.Errorf("once more: %+v", r)
	}
	if r := kit.Run(t, "run", kit.Image, "true"); r.Code != 0 {
		t.Errorf("one of the team: %+v", r)
	}
	if r := kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "run", kit.Image, "true")); r.Code != 125 || !strings.Contains(r.Err, file+":15 denies it") {
		t.Errorf("another user: %+v", r)
	}
	if r := kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "image", "inspect", kit.Image)); r.Code != 125 || !strings.Contains(r.Err, file+":15 denies it") {
		t.Errorf("another user looks: %+v", r)
	}
	if r := kit.Root(t, "policy", "check"); r.Code != 0 || strings.Contains(r.Out, "everybody else may run") {
		t.Errorf("check: %+v", r)
	}
	kit.Must(t, os.Remove(file))
	kit.Succeed(t, append(args, "--shared")...)
	if r := kit.Root(t, "policy", "check"); r.Code != 0 || !strings.Contains(r.Out, file+":3: note: everybody else may run "+kit.Image+", too, by the rule at /etc/mayfly/policy.toml:") {
		t.Errorf("check: %+v", r)
	}
}
