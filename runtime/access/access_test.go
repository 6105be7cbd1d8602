package access

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/nsexec/inside"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// database is the machine's, with two users in its place whom the machine need not
// know.
func database(t *testing.T) *user.Database {
	t.Helper()
	d, err := user.Load(here.Here{})
	if err != nil {
		t.Fatal(err)
	}
	d.Passwd = []byte("root:x:0:0:root:/root:/bin/sh\ndev:x:70001:70002:Dev:/home/dev:/bin/zsh\nother:x:70003:70003::/:/bin/sh\n")
	d.Group = []byte("root:x:0:\ndev:x:70002:\nusers:x:70004:dev,other\n")
	return d
}

func TestOnlyRootNamesAnotherOwner(t *testing.T) {
	d := database(t)
	root, dev := caller.Caller{}, caller.Caller{UID: 70001}
	for _, c := range []struct {
		who  caller.Caller
		text string
		uid  uint32
		name string
		err  error
	}{
		{dev, "work", 70001, "work", nil},
		{dev, "dev/work", 70001, "work", nil},
		{dev, "70001/work", 70001, "work", nil},
		{dev, "other/work", 0, "", caller.ErrNotPermitted},
		{dev, "root/work", 0, "", caller.ErrNotPermitted},
		{dev, "0/work", 0, "", caller.ErrNotPermitted},
		{dev, "dev/a/b", 70001, "a/b", nil}, // which is refused as a name
		{root, "work", 0, "work", nil},
		{root, "other/work", 70003, "work", nil},
		{root, "/work", 0, "", passwd.ErrUnknown},
		{root, "4294967295/work", 0, "", passwd.ErrUnknown},
	} {
		uid, name, err := OwnerOf(d, c.who, c.text)
		if uid != c.uid || name != c.name || !errors.Is(err, c.err) {
			t.Errorf("%q of %d: %d, %q, %v", c.text, c.who.UID, uid, name, err)
		}
	}
}

func TestAnOwnerWithoutANameIsANumber(t *testing.T) {
	d := database(t)
	for uid, want := range map[uint32]string{0: "root", 70001: "dev", 3999999999: "3999999999"} {
		if got := OwnerName(d, uid); got != want {
			t.Errorf("%d: %q", uid, got)
		}
	}
}

func TestTheCallersEnvironmentIsAsTheyHadIt(t *testing.T) {
	for name, value := range map[string]string{here.Variable + "": "enter", "MAYFLY_CALLER": "0", "MAYFLY_CALLERS": "2", hiddenGO + "DEBUG": "x", hiddenGO + "PATH": "y"} {
		t.Setenv(name, value)
	}
	env := CallerEnviron()
	for _, want := range []string{"GODEBUG=x", "GOPATH=y", "MAYFLY_CALLERS=2"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, entry := range env {
		if strings.HasPrefix(entry, here.Variable+"=") || strings.HasPrefix(entry, "MAYFLY_CALLER=") || strings.HasPrefix(entry, hiddenGO) {
			t.Errorf("%q is in it", entry)
		}
	}
}

func TestTheCallerIsWhomTheKernelSays(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(link)
	t.Setenv("PWD", link)
	who, err := CurrentCaller()
	if err != nil || who.UID != uint32(unix.Getuid()) || who.GID != uint32(unix.Getgid()) {
		t.Errorf("%+v, %v", who, err)
	}
	if real, err := filepath.EvalSymlinks(dir); err != nil || who.Dir != real || who.DirErr != nil {
		t.Errorf("the working directory is %q, %v; want %q, %v", who.Dir, who.DirErr, real, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if who, err := CurrentCaller(); err != nil || who.Dir != "" || who.DirErr == nil || !strings.Contains(who.DirErr.Error(), "removed") {
		t.Errorf("a directory that was removed: %q, %v, %v", who.Dir, who.DirErr, err)
	}
}

func TestALongWorkingDirectoryHasNoName(t *testing.T) {
	t.Chdir(t.TempDir())
	name := strings.Repeat("d", 255)
	for range unix.PathMax/256 + 1 {
		if err := errors.Join(unix.Mkdir(name, 0o755), unix.Chdir(name)); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err := unixGetwd(); dir != "" || err == nil || !strings.Contains(err.Error(), "longer than 4095 bytes") {
		t.Errorf("%q, %v", dir, err)
	}
}

func TestOnlyRootIsBelievedWhoCalls(t *testing.T) {
	for value, want := range map[string]uint32{"70001": 70001, "": 0, "x": 0, "-1": 0, "4294967296": 0} {
		t.Setenv("MAYFLY_CALLER", value)
		if got := WhoCalls(caller.Caller{UID: 0}); got != want {
			t.Errorf("root says %q: %d", value, got)
		}
		if got := WhoCalls(caller.Caller{UID: 70003}); got != 70003 {
			t.Errorf("a user says %q: %d", value, got)
		}
	}
	name, value, _ := strings.Cut(TellRoot(caller.Caller{UID: 70001}), "=")
	t.Setenv(name, value)
	if got := WhoCalls(caller.Caller{}); got != 70001 {
		t.Errorf("what root is told is read as %d", got)
	}
}

func TestIDsOfSudoAreNumbers(t *testing.T) {
	const name = "SUDO_UID"
	for value, want := range map[string]uint32{"0": 0, "1000": 1000, "4294967294": 4294967294} {
		t.Setenv(name, value)
		if got, err := sudoID(name); err != nil || got != want {
			t.Errorf("%q: %d, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "-1", "4294967295", "4294967296", "1000 ", "dev", "0x10"} {
		t.Setenv(name, value)
		if got, err := sudoID(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %d, %v", value, got, err)
		}
	}
}

func TestSudosCallerHasTheirOwnGroups(t *testing.T) {
	d := database(t)
	dev, _ := d.Listed(70001)
	if got, err := sudoGroups(d, dev, true, 70002); err != nil || !slices.Equal(got, []int{70002, 70004}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := sudoGroups(d, dev, true, 70009); err != nil || !slices.Equal(got, []int{70009, 70004}) {
		t.Errorf("with another group than the database's: %v, %v", got, err)
	}
	if got, err := sudoGroups(d, passwd.Entry{}, false, 70005); err != nil || !slices.Equal(got, []int{70005}) {
		t.Errorf("of a user whom nobody knows: %v, %v", got, err)
	}
}

func TestWhatSudoSaysOfRootIsSaidOfTheCaller(t *testing.T) {
	for name, value := range map[string]string{"HOME": "/root", "USER": "root", "SHELL": "/bin/bash"} {
		t.Setenv(name, value)
	}
	t.Setenv("LOGNAME", "") // so that it is as it was in the end
	os.Unsetenv("LOGNAME")
	unsudo(passwd.Entry{Name: "dev", Home: "/home/dev", Shell: "/bin/zsh"})
	for name, want := range map[string]string{"HOME": "/home/dev", "USER": "dev", "SHELL": "/bin/zsh"} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s=%s", name, got)
		}
	}
	if value, set := os.LookupEnv("LOGNAME"); set {
		t.Errorf("LOGNAME, which was not set, is %q", value)
	}
}

func TestThePolicyAsksForUsersByName(t *testing.T) {
	c := PolicyCaller(70001, []uint32{70002, 70004}, database(t))
	if c.UID != 70001 || !slices.Equal(c.GIDs, []uint32{70002, 70004}) {
		t.Errorf("%+v", c)
	}
	if uid, known, err := c.UserID("other"); uid != 70003 || !known || err != nil {
		t.Errorf("%d, %v, %v", uid, known, err)
	}
	if gid, known, err := c.GroupID("users"); gid != 70004 || !known || err != nil {
		t.Errorf("%d, %v, %v", gid, known, err)
	}
	// A rule about somebody who is not there is no error: it is for nobody.
	if _, known, err := c.UserID("-nosuch"); known || err != nil {
		t.Errorf("a user whom nobody knows: %v, %v", known, err)
	}
	if _, known, err := c.GroupID("-nosuch"); known || err != nil {
		t.Errorf("a group that nobody knows: %v, %v", known, err)
	}
}

func TestAStoreTakesTheCapabilitiesOfItsKind(t *testing.T) {
	btrfs, overlay := &image.Store{BTRFS: true}, &image.Store{Path: "/images"}
	if got := StoreCapabilities(btrfs); got != privilege.SysAdmin {
		t.Errorf("BTRFS: %#x", got)
	}
	if got := StoreCapabilities(overlay); got != privilege.SysAdmin|privilege.OverlayCapabilities {
		t.Errorf("overlay: %#x", got)
	}
	if err := CheckStore(btrfs); err != nil {
		t.Errorf("BTRFS: %v", err)
	}
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	err = CheckStore(overlay)
	switch granted := have.Permitted&privilege.OverlayCapabilities == privilege.OverlayCapabilities; {
	case granted && err != nil:
		t.Errorf("with all capabilities: %v", err)
	case !granted && (!errors.Is(err, privilege.ErrNoPrivilege) || !strings.Contains(err.Error(), "/images")):
		t.Errorf("without the capabilities: %v", err)
	}
}

func TestAUserChoosesNoStore(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	called := false
	err := WithStore(here.Here{}, "/", func(*image.Store) error { called = true; return nil })
	if called || !errors.Is(err, caller.ErrNotPermitted) {
		t.Errorf("%v, called: %v", err, called)
	}
}

func TestWhoHasNoGrantIsToldSo(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	for what, err := range map[string]error{
		"the store":   WithStore(here.Here{}, "", func(*image.Store) error { return nil }),
		"root's part": AsRoot(here.Here{}, func() error { return nil }),
	} {
		if !errors.Is(err, privilege.ErrNoPrivilege) || !strings.Contains(err.Error(), "cap_sys_admin is missing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := BecomeSudoCaller(here.Here{}); err == nil || !strings.Contains(err.Error(), "runtime grant --sudo") {
		t.Errorf("as-caller: %v", err)
	}
	if OwnsStore(here.Here{}) {
		t.Error("the store is theirs")
	}
}
