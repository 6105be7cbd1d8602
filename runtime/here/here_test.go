package here

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"mayfly/nsexec/inside"

	"golang.org/x/sys/unix"
)

func TestOnTheHostAllIsRootsAndInItsPlace(t *testing.T) {
	t.Setenv(Variable, "")
	h, err := Find()
	if err != nil || h.Rootless() || h.Root().UID != 0 || h.Root().GID != 0 || !h.HasIDs() || h.State() != "/run/mayfly" {
		t.Errorf("%v, own %v, root %d:%d, ids %v, %s", err, h.Rootless(), h.Root().UID, h.Root().GID, h.HasIDs(), h.State())
	}
	if id, ok := h.Stranger(); !ok || id != strangers+uint32(os.Getpid()) || id >= 1<<31 {
		t.Errorf("a stranger is %d, %v", id, ok)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.GiveToCaller(file); err != nil {
		t.Error(err)
	}
}

func TestNobodyIsBelievedOnTheHost(t *testing.T) {
	if !OnHost() && os.Getuid() == 0 {
		t.Log("this machine is a user namespace itself: its root is believed")
		return
	}
	t.Setenv(Variable, "in:1:2:/evil")
	if h, err := Find(); err != nil || h.Rootless() || h.Directory() != "" {
		t.Errorf("%v, own %v, in %q", err, h.Rootless(), h.Directory())
	}
}

func TestRootOfAUserNamespaceIsToldWhereItIs(t *testing.T) {
	if !inside.RunsWithID(t, 0, Variable+"=in:70001:70002:/home/d:e") {
		return
	}
	if OnHost() {
		t.Error("on the host")
	}
	h, err := Find()
	if err != nil || !h.Rootless() || h.Directory() != "/home/d:e" || h.Store() != "/home/d:e/images" || h.State() != "/home/d:e/run" || h.Root().UID != 0 || h.Root().GID != 0 {
		t.Errorf("%v, own %v, %q, %q, %q, root %d", err, h.Rootless(), h.Directory(), h.Store(), h.State(), h.Root().UID)
	}
	if h.HasIDs() {
		t.Error("there is one id only")
	}
	if id, ok := h.Stranger(); ok {
		t.Errorf("a stranger is %d", id)
	}
	// What is told to the program when it is executed again is what it was told.
	if got := h.Again(); got != Variable+"="+os.Getenv(Variable) {
		t.Errorf("%q", got)
	}
}

func TestWhatRootIsToldMustBeWhole(t *testing.T) {
	if !inside.RunsWithID(t, 0) {
		return
	}
	for _, value := range []string{"in:", "in:1", "in:1:2", "in:x:2:/d", "in:1:-2:/d", "in:4294967296:2:/d"} {
		t.Setenv(Variable, value)
		if h, err := Find(); err == nil || !strings.Contains(err.Error(), Variable) || h.Rootless() {
			t.Errorf("%q: %v", value, err)
		}
	}
	for _, value := range []string{"", "enter", "out:1:2:/d"} {
		t.Setenv(Variable, value)
		if h, err := Find(); err != nil || h.Rootless() {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestAUserOfANamespaceIsNotBelievedAndIsTheirOwnRoot(t *testing.T) {
	if !inside.RunsWithID(t, 70001, Variable+"=in:1:2:/evil") {
		return
	}
	h, err := Find()
	if err != nil || h.Rootless() {
		t.Errorf("%v, own %v", err, h.Rootless())
	}
	h, err = In("/dir", 70001, 70001)
	if err != nil || !h.Rootless() || h.Root().UID != 70001 || h.Root().GID != 70001 || h.HasIDs() {
		t.Errorf("%v, own %v, root %d:%d, ids %v", err, h.Rootless(), h.Root().UID, h.Root().GID, h.HasIDs())
	}
	if got, want := h.Again(), Variable+"=in:70001:70001:/dir"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAGrantIsIgnoredWhereTheKernelSaysSo(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var fs unix.Statfs_t
		if err := unix.Statfs("/proc/self/exe", &fs); err != nil {
			t.Error(err)
		}
		set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if before := GrantIgnored(); err != nil || set == 0 && errors.Is(before, ErrNoSUID) != (fs.Flags&unix.ST_NOSUID != 0) {
			t.Errorf("%v, %v", before, err)
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
		}
		if err := GrantIgnored(); err != ErrNoNewPrivileges {
			t.Errorf("%v", err)
		}
	}()
	<-done
}
