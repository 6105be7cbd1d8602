package nsexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec/inside"
)

// These tests run as root of a user namespace (package inside).

// launched is a thread in new namespaces whose PID 1 is there, as of a launch.
type launched struct {
	*Init
	proc int
}

// launch makes it of the calling thread, which ends with the test's function.
func launch(t *testing.T, atMost time.Duration) (l launched) {
	t.Helper()
	if err := Undumpable(); err != nil {
		t.Fatal(err)
	}
	if err := Unshare(unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.Init, err = StartInit(Root{}, atMost); err != nil {
		t.Fatal(err)
	}
	if l.proc, err = l.Proc(); err != nil {
		t.Fatal(err)
	}
	return l
}

// patience bounds waits that end long before, where all is well.
const patience = time.Minute

func (l launched) end(t *testing.T) {
	t.Helper()
	l.Kill()
	if err := l.Wait(patience); err != nil {
		t.Error(err)
	}
	unix.Close(l.proc)
}

// starts starts a command on the calling thread, whose standard output is a pipe, and
// returns it with the reading end.
func starts(t *testing.T, c Command) (*Process, *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Files[1] = write.Fd()
	p, err := StartCommand(c)
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	return p, read
}

// says is what a command that starts on the calling thread writes before it ends.
func says(t *testing.T, c Command) string {
	t.Helper()
	p, out := starts(t, c)
	defer out.Close()
	var text strings.Builder
	if _, err := out.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(); err != nil || status != 0 {
		t.Errorf("%q: %#x, %v", c.Args, status, err)
	}
	return text.String()
}

func TestPID1ComesFirstThenTheCommandByItsNumber(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	onThread(func() {
		l := launch(t, 0)
		defer l.end(t)
		var fs unix.Statfs_t
		if err := unix.Fstatfs(l.proc, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
			t.Errorf("the procfs is of type %#x, %v", fs.Type, err)
		}
		status := make([]byte, 4096)
		fd, err := unix.Openat(l.proc, "1/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := unix.Read(fd, status)
		unix.Close(fd)
		for _, want := range []string{"Name:\tmayfly-init\n", "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n",
			"\nNoNewPrivs:\t1\n", "\nSeccomp:\t1\n", "\nNSpid:\t1\n", "\nUid:\t0\t0\t0\t0\n"} {
			if err != nil || !strings.Contains(string(status[:n]), want) {
				t.Errorf("PID 1 has no %q: %v\n%s", want, err, status[:n])
			}
		}
		first := l.FirstPID()
		if _, err := os.Stat(lastPID); err == nil && (first <= firstPID || first > firstPIDLess) || err != nil && first != 2 {
			t.Errorf("process ids begin at %d; %s: %v", first, lastPID, err)
		}
		for i := range 3 {
			if got := says(t, shell("echo $$")); got != fmt.Sprintln(first+i) {
				t.Errorf("command %d is process %s, want %d", i, got, first+i)
			}
		}
	})
}

func TestPID1EndsWithAllOfItsNamespace(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	for name, end := range map[string]func(*Init) error{
		"End":        func(i *Init) error { i.End(); return nil },
		"Kill":       func(i *Init) error { i.Kill(); return nil },
		"KillAsRoot": func(i *Init) error { return KillAsRoot(Root{}, int(i.line.pidfd)) },
		"the line":   func(i *Init) error { return unix.Close(i.line.own) },
		"the time":   func(i *Init) error { return nil },
	} {
		onThread(func() {
			limit := time.Duration(0)
			if name == "the time" {
				limit = time.Millisecond
			}
			l := launch(t, limit)
			p, out := starts(t, shell("exec sleep infinity"))
			defer out.Close()
			if name != "the time" && exits(int(l.line.pidfd), 0) == nil {
				t.Errorf("%s: PID 1 has ended by itself", name)
			}
			if err := end(l.Init); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "the line" {
				l.line.own = -1
			}
			if status, err := p.Wait(); err != nil || !status.Signaled() || status.Signal() != unix.SIGKILL {
				t.Errorf("%s: the command's wait status is %#x, %v", name, status, err)
			}
			l.end(t)
		})
	}
}

func TestPID1TellsWhichSystemCallFailed(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	before := openFiles(t)
	onThread(func() {
		if err := Undumpable(); err != nil {
			t.Fatal(err)
		}
		if err := Unshare(unix.CLONE_NEWPID | unix.CLONE_NEWNS); err != nil {
			t.Fatal(err)
		}
		if err := SetEffective(1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID); err != nil {
			t.Fatal(err)
		}
		i, err := StartInit(Root{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if fd, err := i.Proc(); fd != -1 || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), fmt.Sprint("system call ", unix.SYS_FSOPEN)) {
			t.Errorf("descriptor %d, %v; want EPERM of fsopen, which is system call %d", fd, err, unix.SYS_FSOPEN)
		}
		i.Kill()
		if err := i.Wait(patience); err != nil {
			t.Error(err)
		}
	})
	if after := openFiles(t); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("descriptors %v before, %v after", before, after)
	}
}

func TestInsideACommandBecomesRootOfANamespace(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	groups, err := os.ReadFile("/proc/self/setgroups")
	if err != nil {
		t.Fatal(err)
	}
	for _, keepGroups := range []bool{false, true} {
		onThread(func() {
			if err := Undumpable(); err != nil {
				t.Fatal(err)
			}
			one := []IDMap{{Inside: 0, Outside: 0, Count: 1}}
			fd, err := NewUserNamespace(Root{}, one, one, keepGroups, true)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
				t.Errorf("the process is left dumpable: %d, %v", dumpable, err)
			}
			var ns unix.Stat_t
			if err := unix.Fstat(fd, &ns); err != nil {
				t.Fatal(err)
			}
			c := shell(`readlink /proc/self/ns/user; cat /proc/self/setgroups /proc/self/uid_map; grep -E '^Cap(Prm|Bnd)' /proc/self/status`)
			c.UserNamespace = &UserNamespace{FD: fd, Keep: 1<<unix.CAP_CHOWN | 1<<unix.CAP_SETUID}
			want := fmt.Sprintf("user:[%d]\n%s         0          0          1\nCapPrm:\t%016x\nCapBnd:\t%016[3]x\n", ns.Ino, groups, c.UserNamespace.Keep)
			if keepGroups {
				want = strings.Replace(want, "allow", "deny", 1)
			}
			if got := says(t, c); got != want {
				t.Errorf("keepGroups %v: it says\n%swant\n%s", keepGroups, got, want)
			}
			p, out := starts(t, Command{Path: "/bin/sleep", Args: []string{"sleep", "infinity"}, Files: [3]uintptr{0, 1, 2}, UserNamespace: c.UserNamespace})
			defer out.Close()
			if err := p.SignalGroup(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			if status, err := p.Wait(); err != nil || status.Signal() != unix.SIGTERM {
				t.Errorf("%#x, %v", status, err)
			}
		})
	}
}

func TestInsideANamespaceThatCannotBeMappedIsNotMade(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	before := openFiles(t)
	foreign := []IDMap{{Inside: 0, Outside: 12345, Count: 1}} // no id of this namespace
	fd, err := NewUserNamespace(Root{}, foreign, foreign, true, true)
	if fd != -1 || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "write uid_map") {
		t.Errorf("%d, %v; want EPERM as uid_map is written", fd, err)
	}
	if after := openFiles(t); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("descriptors %v before, %v after", before, after)
	}
}

func TestInsideANewNetworkHasItsLoopbackAndEveryPort(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	onThread(func() {
		fd, err := NewNetwork(Root{})
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := EnterNetwork(fd); err != nil {
			t.Fatal(err)
		}
		if err := SetCapabilities(0, 0); err != nil {
			t.Fatal(err)
		}
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(socket)
		if err := unix.Bind(socket, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Errorf("bind port 1 of 127.0.0.1: %v", err)
		}
		interfaces, _ := unix.NewIfreq("lo")
		if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, interfaces); err != nil || interfaces.Uint16()&unix.IFF_UP == 0 {
			t.Errorf("lo has flags %#x, %v", interfaces.Uint16(), err)
		}
		list, err := filepath.Glob("/proc/thread-self/net/dev_snmp6/*") // every interface has a file there
		if err != nil || len(list) > 1 {
			t.Errorf("there are %v, %v", list, err)
		}
	})
	if err := EnterNetwork(1 << 20); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, want EBADF", err)
	}
}

func TestInsideAThreadLosesWhatItGivesUp(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	groups, _ := os.ReadFile("/proc/self/setgroups")
	onThread(func() {
		const keep = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_CHOWN
		field := func(name string) uint64 {
			text, err := os.ReadFile("/proc/thread-self/status")
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(text), "\n"+name+":\t")
			value, _, _ := strings.Cut(after, "\n")
			n, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := Unshare(unix.CLONE_NEWUTS | unix.CLONE_NEWNS); err != nil {
			t.Fatal(err)
		}
		if err := SetHostname("inside"); err != nil {
			t.Error(err)
		}
		if err := SetFSIDs(12345, 0); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("ids that are not mapped: %v", err)
		}
		if err := SetIDs(0, 0, nil); (strings.TrimSpace(string(groups)) == "deny") != errors.Is(err, unix.EPERM) {
			t.Errorf("%v where setgroups(2) is %s", err, groups)
		}
		if err := LimitBounding(keep); err != nil || field("CapBnd") != keep {
			t.Errorf("bounding set %#x, %v; want %#x", field("CapBnd"), err, keep)
		}
		if err := SetCapabilities(keep, 1<<unix.CAP_CHOWN); err != nil || field("CapPrm") != keep || field("CapEff") != 1<<unix.CAP_CHOWN || field("CapInh") != 0 {
			t.Errorf("permitted %#x, effective %#x, inheritable %#x, %v", field("CapPrm"), field("CapEff"), field("CapInh"), err)
		}
		if err := SetHostname("refused"); !errors.Is(err, unix.EPERM) {
			t.Errorf("%v where CAP_SYS_ADMIN is not effective", err)
		}
		if err := SetEffective(keep); err != nil || field("CapEff") != keep {
			t.Errorf("effective %#x, %v", field("CapEff"), err)
		}
		if err := SetEffective(keep | 1<<unix.CAP_KILL); !errors.Is(err, unix.EPERM) {
			t.Errorf("%v for a capability that is not permitted", err)
		}
		if err := NoNewPrivileges(); err != nil || field("NoNewPrivs") != 1 {
			t.Errorf("no_new_privs %d, %v", field("NoNewPrivs"), err)
		}
		if got, err := CurrentCapabilities(); err != nil || got != (Capabilities{Effective: keep, Permitted: keep}) {
			t.Errorf("%+v, %v", got, err)
		}
		rights, err := CurrentRights()
		if err != nil {
			t.Fatal(err)
		}
		adopted := make(chan Capabilities)
		go func() {
			goruntime.LockOSThread()
			err := rights.Take()
			got, wrong := CurrentCapabilities()
			if err := errors.Join(err, wrong); err != nil {
				t.Error(err)
			}
			adopted <- got
		}()
		if got := <-adopted; got.Effective != keep {
			t.Errorf("a thread that takes this one's rights has %#x effective, want %#x", got.Effective, keep)
		}
	})
}

func TestInsideAllThreadsAreSettled(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	const keep = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID
	err := SettleProcess(0, 0, nil, keep)
	if usesCgo { // where no system call can be made on all threads
		if !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("%v, want ENOTSUP", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"CapInh:\t0000000000000000", fmt.Sprintf("CapPrm:\t%016x", keep), "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		for _, line := range want {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s has no %q, %v", name, line, err)
			}
		}
	}
	c, err := CurrentCredentials()
	if err != nil || !c.UID.Settled() || !c.GID.Settled() || c.UID.Real != 0 || c.Permitted != keep {
		t.Errorf("%+v, %v", c, err)
	}
	if err := SettleProcess(12345, 0, nil, keep); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v for an id that is not mapped", err)
	}
}
