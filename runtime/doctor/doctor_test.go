package doctor

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mayfly/nsexec/inside"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
)

func TestAFindingIsInOrderOrSaysWhatToDo(t *testing.T) {
	if got, want := finding("kernel", true, "Linux 6", nil, "boot another"), (Finding{What: "kernel", OK: true, Found: "Linux 6", Needed: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := finding("policy", false, "in order", errors.New("line 3"), "edit it"), (Finding{What: "policy", Found: "line 3", Advice: "edit it"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestEveryLookHasAFinding(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	list := Examine(here.Here{})
	seen := map[string]bool{}
	for _, f := range list {
		if f.What == "" || seen[f.What] {
			t.Errorf("%q is told twice, or has no name", f.What)
		}
		seen[f.What] = true
		if f.Found == "" {
			t.Errorf("%s: nothing is told", f.What)
		}
		if f.OK && f.Advice != "" {
			t.Errorf("%s is in order, and there is advice: %s", f.What, f.Advice)
		}
		if !f.OK && f.Advice == "" && f.What != "without a grant" && f.What != "security modules" { // whose errors say it
			t.Errorf("%s is not in order (%s), and nothing says what to do", f.What, f.Found)
		}
	}
	for _, want := range []string{"kernel", "namespaces", "file systems", "grant", "without a grant", "policy", "image store", "store's mount", "store's writing",
		"/run", "control groups", "fs.suid_dumpable", "32-bit", "foreign programs", "security modules"} {
		if !seen[want] {
			t.Errorf("nothing is found about %s", want)
		}
	}
	for _, f := range list {
		// Who calls without a grant is told what is missing, and never that all is
		// well.
		if f.What == "grant" && (f.OK || !strings.Contains(f.Found, "cap_sys_admin")) {
			t.Errorf("%+v", f)
		}
		// A store that a user may not look into is no fault of it.
		if f.What == "image store" && strings.Contains(f.Found, "permission denied") && f.Needed {
			t.Errorf("%+v", f)
		}
	}
}

func TestRootIsToldToAskAsAUser(t *testing.T) {
	f := machine{}.examineGrant()
	if os.Getuid() == 0 && f.OK && !strings.Contains(f.Found, "ask as a user") {
		t.Errorf("%+v", f)
	}
	if os.Getuid() != 0 && strings.Contains(f.Found, "root's") {
		t.Errorf("%+v", f)
	}
}

func TestWhoHasOneIDIsToldThatUserNamespacesHaveOne(t *testing.T) {
	found, err := machine{}.describeIDs(caller.Caller{UID: 3999999999, GID: 3999999999})
	if err != nil || !strings.HasPrefix(found, "user namespaces with a single id: no subordinate ids") {
		t.Errorf("%q, %v", found, err)
	}
}

func TestProgramsOfNoMachineDoNotRun(t *testing.T) {
	if found, err := runsPrograms("nosuch"); err == nil || found != "" {
		t.Errorf("%q, %v", found, err)
	}
}
