package session

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mayfly/nsexec/inside"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
)

func TestAUserSeesNobodyElsesSessions(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	if list, err := List(here.Here{}, true); !errors.Is(err, caller.ErrNotPermitted) || list != nil {
		t.Errorf("of all users: %v, %v", list, err)
	}
	if err := End(here.Here{}, "root/work", func(string) {}); !errors.Is(err, caller.ErrNotPermitted) {
		t.Errorf("end one of root's: %v", err)
	}
}

func TestSessionsTakeAGrant(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	note := func(text string) { t.Errorf("the log is told of nothing: %s", text) }
	if _, err := Begin(context.Background(), here.Here{}, "image", "", note); !errors.Is(err, privilege.ErrNoPrivilege) {
		t.Errorf("begin: %v", err)
	}
	if _, err := List(here.Here{}, false); !errors.Is(err, privilege.ErrNoPrivilege) {
		t.Errorf("list: %v", err)
	}
	if err := End(here.Here{}, "work", note); !errors.Is(err, privilege.ErrNoPrivilege) {
		t.Errorf("end: %v", err)
	}
}

// The name is looked at before anything is asked for with it.
func TestASessionIsOfAnImageThatHasAName(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "../x", "-x", "a@", "a@0", "a\x00b"} {
		if begun, err := begin(context.Background(), here.Here{}, name, "work"); err == nil || begun != "" || errors.Is(err, privilege.ErrNoPrivilege) {
			t.Errorf("%q: %q, %v", name, begun, err)
		}
	}
}

func TestTheUserIsToldOnceThatTheLogIsLost(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	for _, c := range []struct {
		errs []error
		want string
	}{{[]error{nil, nil}, ""}, {[]error{first, nil}, "first"}, {[]error{nil, second}, "second"}, {[]error{first, second}, "first"}} {
		var told []string
		noteLost(func(text string) { told = append(told, text) }, c.errs...)
		if strings.Join(told, ",") != c.want {
			t.Errorf("%v: %q", c.errs, told)
		}
	}
}
