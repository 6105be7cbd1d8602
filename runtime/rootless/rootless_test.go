package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// database is the machine's, with users in its place whom the machine need not know.
func database(t *testing.T) *user.Database {
	t.Helper()
	d, err := user.Load(here.Here{})
	if err != nil {
		t.Fatal(err)
	}
	d.Passwd = []byte("root:x:0:0:root:/root:/bin/sh\ndev:x:70001:70002:Dev:/home/dev:/bin/zsh\n")
	d.Group = []byte("dev:x:70002:\nusers:x:70004:dev\n")
	return d
}

func TestACallerHasTheGroupThatTheKernelSays(t *testing.T) {
	d := database(t)
	if got := EntryOf(d, caller.Caller{UID: 70001, GID: 70004}); got.Name != "dev" || got.UID != 70001 || got.GID != 70004 || got.Home != "/home/dev" {
		t.Errorf("%+v", got)
	}
	if got := EntryOf(d, caller.Caller{UID: 3999999999, GID: 5}); got != passwd.Nameless(3999999999, 5) {
		t.Errorf("whom nobody knows: %+v", got)
	}
}

func TestSubordinateIDsAreForTheUsersOwnGroup(t *testing.T) {
	d := database(t)
	of := func(gid uint32) error { return SameGroup(d, EntryOf(d, caller.Caller{UID: 70001, GID: gid})) }
	if err := of(70002); err != nil {
		t.Errorf("their own: %v", err)
	}
	for gid, name := range map[uint32]string{70004: "users", 70009: "70009"} {
		err := of(gid)
		if err == nil || !strings.Contains(err.Error(), "your group is "+name+" now") || !strings.Contains(err.Error(), "dev:dev only") || !strings.Contains(err.Error(), "`sg dev -c ") {
			t.Errorf("after newgrp: %v", err)
		}
	}
	if err := SameGroup(d, passwd.Nameless(3999999999, 5)); err != nil {
		t.Errorf("whom nobody knows: %v", err)
	}
}

func TestProgramsAreFoundWherePATHSays(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{filepath.Join(first, "tool"): 0o644, filepath.Join(second, "tool"): 0o755, filepath.Join(second, "other"): 0o755} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(second)
	for _, c := range []struct{ path, name, want string }{
		{first + ":" + second, "tool", filepath.Join(second, "tool")}, // what cannot be executed is none
		{second + ":" + first, "other", filepath.Join(second, "other")},
		{".:" + first, "tool", ""}, // a directory of whoever calls it is none of the system's
		{":" + first, "tool", ""},
		{"", "tool", ""},
		{second, "nosuch", ""},
	} {
		t.Setenv("PATH", c.path)
		got, err := findProgram(c.name)
		if got != c.want || (c.want == "") != errors.Is(err, os.ErrNotExist) {
			t.Errorf("PATH=%s: %q, %v; want %q", c.path, got, err, c.want)
		}
	}
}

// The machine's subuid(5) may have ids for root or not: both are told, and nothing else.
func TestMappersAreToldTheIDsOrWhyThereAreNone(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"newuidmap", "newgidmap"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	d := database(t)
	if _, err := MapperCommands(d, passwd.Nameless(3999999999, 3999999999)); !errors.Is(err, passwd.ErrNoRange) {
		t.Errorf("who has no subordinate ids: %v", err)
	}
	text, _ := os.ReadFile(passwd.SubUIDFile)
	tried := 0
	for line := range strings.Lines(string(text)) {
		name, ids, ok := passwd.ParseRange(strings.TrimSuffix(line, "\n"))
		if !ok {
			continue
		}
		real, err := user.Load(here.Here{})
		if err != nil {
			t.Fatal(err)
		}
		who, _, err := real.ByNameOrNumber(name)
		if err != nil {
			continue
		}
		commands, err := MapperCommands(real, who)
		if err != nil {
			continue
		}
		tried++
		for i, want := range []string{"newuidmap", "newgidmap"} {
			c := commands[i]
			if c[0] != filepath.Join(bin, want) || c[1] != strconv.Itoa(os.Getpid()) || len(c)%3 != 2 {
				t.Errorf("%q", c)
			}
		}
		if want := strconv.FormatUint(uint64(ids.First), 10); who.UID != 0 && !slices.Contains(commands[0], want) {
			t.Errorf("%q has no %s", commands[0], want)
		}
		t.Setenv("PATH", t.TempDir())
		if _, err := MapperCommands(real, who); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without the programs: %v", err)
		}
		t.Setenv("PATH", bin)
	}
	t.Logf("%d users of this machine have subordinate ids", tried)
}

func TestWhyThereIsNoUserNamespaceIsToldWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errForbidden, "the policy wants no containers without a grant"},
		{unix.ENOSPC, "user.max_user_namespaces allows"},
		{syscall.EUSERS, "user.max_user_namespaces allows"},
		{unix.EMFILE, "`ulimit -a`"},
		{fmt.Errorf("clone: %w", unix.EAGAIN), "`ulimit -a`"},
		{unix.EPERM, "as it is in many containers"},
	} {
		err := explainUserNamespace(c.err)
		if !errors.Is(err, privilege.ErrNoPrivilege) || !errors.Is(err, c.err) || !strings.Contains(err.Error(), "`runtime grant`") {
			t.Errorf("%v: %v", c.err, err)
		}
		// Where a setting forbids them all, that is the reason.
		if off := UserNamespacesOff(); off != nil && c.err != errForbidden {
			c.want = off.Error()
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.err, err, c.want)
		}
	}
}

func TestASettingThatIsNotThereIsEmpty(t *testing.T) {
	name := filepath.Join(t.TempDir(), "setting")
	if got := Setting(name); got != "" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(name, []byte(" 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Setting(name); got != "1" {
		t.Errorf("%q", got)
	}
}

func TestTheCallersDirectoryIsMadeWhereItIsToBe(t *testing.T) {
	home, data := t.TempDir(), t.TempDir()
	who := passwd.Entry{Name: "dev", Home: home}
	for _, c := range []struct{ xdg, want string }{
		{"", filepath.Join(home, ".local/share/mayfly")},
		{"relative", filepath.Join(home, ".local/share/mayfly")}, // which the specification has ignored
		{data, filepath.Join(data, "mayfly")},
		{data, filepath.Join(data, "mayfly")}, // it is there already
	} {
		t.Setenv("XDG_DATA_HOME", c.xdg)
		got, err := ownDirectory(who)
		if err != nil || got != c.want {
			t.Errorf("XDG_DATA_HOME=%s: %q, %v; want %q", c.xdg, got, err, c.want)
			continue
		}
		if info, err := os.Stat(got); err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%v, %v", info, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_DATA_HOME", link)
	if got, err := ownDirectory(who); err != nil || got != filepath.Join(data, "mayfly") {
		t.Errorf("by a link: %q, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_DATA_HOME", file)
	if _, err := ownDirectory(who); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), "XDG_DATA_HOME names another place") {
		t.Errorf("in a file: %v", err)
	}
}

// mapper starts a program in the place of a mapper, which ends when its line does.
func mapper(t *testing.T, script string) Mapper {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	line, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdin = r
	if err := errors.Join(cmd.Start(), r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return Mapper{PID: cmd.Process.Pid, Line: line}
}

func TestMappersThatAreNotNeededAreLetGo(t *testing.T) {
	b := Bootstrap{Mappers: []Mapper{mapper(t, "read x; exit 0"), mapper(t, "read x; exit 0")}}
	if err := b.dismiss(); err != nil {
		t.Error(err)
	}
	for _, m := range b.Mappers {
		if _, err := unix.Wait4(m.PID, nil, 0, nil); err != unix.ECHILD {
			t.Errorf("process %d has not been waited for: %v", m.PID, err)
		}
	}
	failed := Bootstrap{Mappers: []Mapper{mapper(t, "read x; exit 3")}}
	if err := failed.dismiss(); err == nil || !strings.Contains(err.Error(), "/etc/subuid") {
		t.Errorf("one that has failed: %v", err)
	}
	if err := (&Bootstrap{}).dismiss(); err != nil {
		t.Errorf("none: %v", err)
	}
}

func TestAMapperIsToldOnlyWhatFitsItsBlock(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	m := Mapper{Line: int(w.Fd())}
	if err := (&Bootstrap{Block: make([]byte, 16)}).tell(m, []string{"newuidmap", "1"}); !errors.Is(err, unix.E2BIG) || !strings.HasPrefix(err.Error(), "newuidmap: ") {
		t.Errorf("%v", err)
	}
	if err := (&Bootstrap{Block: make([]byte, 4096)}).tell(m, []string{"newuidmap", "1"}); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	n, err := r.Read(block)
	if err != nil || !strings.HasSuffix(string(block[:n]), "newuidmap\x001\x00") && !strings.Contains(string(block[:n]), "newuidmap\x00") {
		t.Errorf("%q, %v", block[:n], err)
	}
}

// What is written to the maps cannot be tried here: the test's process has them already.
func TestRootNeedsNoUserNamespace(t *testing.T) {
	b := &Bootstrap{}
	asked, err := b.Wanted(here.Here{}, true)
	if os.Getuid() == 0 {
		if asked || err == nil || !strings.Contains(err.Error(), "--unprivileged is for others than root") {
			t.Errorf("root asks: %v, %v", asked, err)
		}
		if asked, err := b.Wanted(here.Here{}, false); asked || err != nil {
			t.Errorf("root: %v, %v", asked, err)
		}
		return
	}
	if asked == errors.Is(err, errForbidden) {
		t.Errorf("a user asks: %v, %v", asked, err)
	}
}

func TestAUserNamespaceThatWasTriedInVainIsNotTriedAgain(t *testing.T) {
	b := &Bootstrap{Tried: true, Err: unix.EPERM}
	if _, err := b.Enter(here.Here{}, false); err != nil {
		t.Errorf("what runs without one is not refused: %v", err)
	}
	if os.Getuid() == 0 {
		return // who is not asked any further
	}
	if again, err := b.Wanted(here.Here{}, false); again || !errors.Is(err, unix.EPERM) || !errors.Is(err, privilege.ErrNoPrivilege) {
		t.Errorf("%v, %v", again, err)
	}
}

func TestAProgramWithoutItsEntryPointDoesNotGoRoundInCircles(t *testing.T) {
	t.Setenv(here.Variable, "enter")
	if err := ExecuteAgain(func() { t.Error("limits were given back") }); err == nil || !strings.Contains(err.Error(), "built with make") {
		t.Errorf("%v", err)
	}
}
