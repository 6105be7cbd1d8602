package audit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
	"mayfly/runtime/user/passwd"
)

// asUser has the calling test be of an ordinary user, who writes nothing into the
// machine's log. For root it runs the test again as nobody, and returns false where it
// has waited for that.
func asUser(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as a user: %v\n%s", err, out)
	}
	return false
}

// isRoot has the calling test be root's: for a user it runs the test again in a user
// namespace, and returns false where it has waited for that.
func isRoot(t *testing.T) bool {
	t.Helper()
	if os.Getuid() == 0 {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	root := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: unix.SIGKILL, UidMappings: root(os.Getuid()), GidMappings: root(os.Getgid())}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("this test needs a user namespace: %v (see the sysctls user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as root: %v\n%s", err, out)
	}
	return false
}

func TestAnAnswerOfThePolicysIsToldFromWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{rule.ErrDenied, Refused}, {caller.ErrNotPermitted, Refused}, {state.ErrTooMany, Refused},
		{fmt.Errorf("--writable: %w: the rule does not let you", rule.ErrDenied), Refused},
		{errors.Join(errors.New("clean up"), state.ErrTooMany), Refused},
		{errors.New("disk full"), Failed}, {caller.ErrNoGrant, Failed}, {unix.EPERM, Failed},
	} {
		if got := decision(c.err); got != c.want {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}

func TestHowACommandEndedIsOneWordOrTwo(t *testing.T) {
	for _, c := range []struct {
		end  status.End
		want string
	}{
		{status.End{}, "exit 0"}, {status.End{Code: 7}, "exit 7"}, {status.End{Signal: unix.SIGKILL}, "signal KILL"},
		{status.End{TimedOut: true, Signal: unix.SIGTERM}, "time limit"}, {status.End{Flooded: true, Code: 1}, "output limit"},
	} {
		if got := result(status.Status{End: c.end}); got != c.want {
			t.Errorf("%+v: %q", c.end, got)
		}
	}
}

func TestAnEventSaysWhoWantedWhatByWhichRule(t *testing.T) {
	a := BeginLaunch(here.Here{}, plan.Request{Image: "deb", Session: "work", Command: []string{"make"}})
	// Nothing is known yet.
	if e := a.event(Refusal); e.Kind != Refusal || e.Image != "deb" || e.Session != "work" || !slices.Equal(e.Command, []string{"make"}) || e.Rule != "" || e.Decision != Allowed || e.Duration < 0 {
		t.Errorf("%+v", e)
	}
	a.Facts = plan.Facts{Caller: caller.Caller{UID: 1000}, User: passwd.Entry{Name: "dev", UID: 1000}}
	if e := a.event(Start); e.UID != 1000 || e.User != "dev" {
		t.Errorf("%+v", e)
	}
	a.Facts.User = passwd.Entry{Name: "build", UID: 2000} // whom root has chosen is not who called
	if e := a.event(Start); e.UID != 1000 || e.User != "" {
		t.Errorf("%+v", e)
	}
	p := &plan.Plan{Container: "deb-1", Root: plan.Root{Version: 3}, Spec: specs.Spec{Process: &specs.Process{Args: []string{"/bin/zsh"}, Cwd: "/home/dev"}}}
	a.lost = 2
	if e := a.planned(End, p); e.Kind != End || e.Version != 3 || e.Container != "deb-1" || !slices.Equal(e.Command, []string{"/bin/zsh"}) || e.Dir != "/home/dev" || e.Lost != 2 {
		t.Errorf("%+v", e)
	}
}

func TestALaunchIsNotLoggedInRootsNameByOthers(t *testing.T) {
	if !asUser(t) {
		return
	}
	a := BeginLaunch(here.Here{}, plan.Request{Image: "deb"})
	p := &plan.Plan{Spec: specs.Spec{Process: &specs.Process{}}}
	note := func(text string) { t.Errorf("noted: %s", text) }
	if err := errors.Join(a.Refused(rule.ErrDenied), a.Started(p, "sha256:0f", note), a.Ended(p, status.Status{}, unix.EPERM)); err != nil || a.lost != 0 {
		t.Errorf("%v, %d events are lost", err, a.lost)
	}
	c, err := BeginChange(here.Here{}, "image create", "deb", "", []string{"image", "create"})
	if err != nil || !c.quiet {
		t.Errorf("%+v, %v", c, err)
	}
	if err := c.Ended(caller.ErrNotPermitted); err != nil || c.Event.Decision != Refused || c.Event.Result != caller.ErrNotPermitted.Error() {
		t.Errorf("%+v, %v", c.Event, err)
	}
}

func TestAChangeThatIsDoneSaysSo(t *testing.T) {
	c := &Change{quiet: true, Event: Event{Decision: Allowed}}
	if err := c.Ended(nil); err != nil || c.Event.Result != "done" || c.Event.Decision != Allowed {
		t.Errorf("%+v, %v", c.Event, err)
	}
	// What the log did not take is told at the end, where that one is taken.
	c.Event.Lost = 1
	if err := c.Ended(nil); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
}

func TestAPolicyThatWantsNoLogHasNone(t *testing.T) {
	a := BeginLaunch(here.Here{}, plan.Request{})
	a.Facts.Policy = rule.Decision{Settings: rule.Settings{Store: rule.DefaultStore, Audit: false}}
	if err := a.Refused(rule.ErrDenied); err != nil || a.lost != 0 {
		t.Errorf("%v, %d events are lost", err, a.lost)
	}
}
