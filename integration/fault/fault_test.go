// Package fault makes every system call of a launch fail, and kills the launch at every
// one.
package fault

import (
	"bytes"
	"errors"
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

func TestMain(m *testing.M) { kit.Main(m) }

// The launch: a snapshot, binds, a tmpfs, a missing mount point that is made, files of
// the container's own.
var launch = []string{kit.Runtime, "run", "--chdir", "/", "--writable", "--tmpfs", "/made/here", "--bind-ro", "/usr/share:/mnt", kit.Base, "/bin/true"}

// traced runs the launch as a user under strace(1), which sees nothing of the command
// itself.
func traced(t *testing.T, log string, options ...string) kit.Result {
	t.Helper()
	args := append([]string{"strace", "-f", "-qq", "-b", "execve", "-e", "signal=none", "-u", kit.User, "-o", log}, options...)
	cmd := exec.Command(args[0], append(args[1:], launch...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r := kit.DoWithin(t, kit.Within(within), cmd)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a launch that hangs would be in the way of all later ones
	return r
}

// within is how long a launch may take that meets with a fault: it must not hang.
const within = 20 * time.Second

// errnos are plausible errors of system calls, of those that have no list here the
// last.
var errnos = map[string][]string{
	"openat": {"EMFILE", "EACCES"}, "openat2": {"EMFILE", "EAGAIN"}, "read": {"EIO"}, "write": {"ENOSPC", "EPIPE"}, "pread64": {"EIO"},
	"close": {"EIO"}, "flock": {"ENOLCK", "EINTR"}, "clone": {"EAGAIN"}, "clone3": {"EAGAIN", "ENOMEM"}, "unshare": {"EPERM", "ENOSPC"},
	"mount_setattr": {"EPERM", "EBUSY"}, "move_mount": {"EBUSY", "ENOENT"}, "open_tree": {"EPERM", "ENOMEM"}, "fsopen": {"ENODEV"},
	"fsmount": {"EPERM"}, "fsconfig": {"EINVAL"}, "ioctl": {"ENOSPC", "EROFS"}, "mkdirat": {"ENOSPC"}, "mknodat": {"ENOSPC"},
	"unlinkat": {"EIO"}, "prctl": {"EPERM"}, "capset": {"EPERM"}, "capget": {"EPERM"}, "setresuid": {"EAGAIN"}, "setresgid": {"EPERM"}, "seccomp": {"ENOMEM"},
	"socketpair": {"EMFILE"}, "socket": {"EMFILE"}, "execve": {"E2BIG"}, "wait4": {"EINTR", "EIO"}, "waitid": {"EINTR", "EIO"}, "sendmsg": {"EAGAIN"},
	"": {"ENOMEM"},
}

// goOwn are calls that the Go runtime makes itself. It may end the process with status
// 2 when one fails; there is no step to name then, but nothing is left either.
var goOwn = []string{"clone", "mmap", "munmap", "madvise", "sched_getaffinity",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "fcntl", "prlimit64", "futex", "getpid", "arch_prctl"}

// notFailing are calls that cannot fail, or by which threads only wait, and whose
// failure would be a fault of no kernel's.
var notFailing = []string{"exit", "exit_group", "rt_sigreturn", "restart_syscall", "nanosleep", "sched_yield", "futex", "gettid", "getpid",
	"rt_sigaction", "rt_sigprocmask", "sigaltstack", "getuid", "getgid", "geteuid", "getegid", "umask", "getcwd", "uname", "arch_prctl", "tgkill"}

// calls lists the system calls of a launch: of each the greatest number of times that
// one thread makes it. What strace has no name for (listmount is newer than Debian
// 12's), it cannot fail either.
func calls(t *testing.T) map[string]int {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	if r := traced(t, log); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	perThread, most := map[string]int{}, map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) +([a-z_0-9]+)\(`).FindAllStringSubmatch(string(data), -1) {
		if strings.HasPrefix(m[2], "syscall_0x") {
			continue
		}
		perThread[m[1]+m[2]]++
		most[m[2]] = max(most[m[2]], perThread[m[1]+m[2]])
	}
	return most
}

// left tells what a launch has left.
func left(t *testing.T) string {
	t.Helper()
	var found []string
	for _, pattern := range []string{filepath.Join(kit.Store, ".mayfly/*"), filepath.Join(kit.Store, ".mayfly/.*"), "/run/mayfly/*/*", "/run/mayfly/*/.*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	return strings.Join(append(found, kit.Inits(t)...), " ")
}

func mounts(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// gone waits for what ends by itself: the processes of a killed launch.
func gone(t *testing.T) {
	t.Helper()
	for range 500 * kit.Patience {
		if len(kit.Inits(t)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// collect has gc remove what is left, and fails if something remains.
func collect(t *testing.T, what string) {
	t.Helper()
	gone(t)
	if out, err := exec.Command(kit.Runtime, "gc").CombinedOutput(); err != nil {
		t.Errorf("%s: gc: %v: %s", what, err, out)
	}
	if remains := left(t); remains != "" {
		t.Fatalf("%s: gc leaves %s", what, remains)
	}
}

func TestEveryCallFailsOnce(t *testing.T) {
	before, log := mounts(t), filepath.Join(t.TempDir(), "log")
	turn, tried, injected, ended := 0, 0, 0, map[string]int{}
	for call, most := range calls(t) {
		if slices.Contains(notFailing, call) {
			continue
		}
		list, ok := errnos[call]
		if !ok {
			list = errnos[""]
		}
		for when := 1; when <= most; when++ {
			for _, errno := range list {
				if turn++; turn%kit.Every(6) != 0 {
					continue
				}
				what := fmt.Sprintf("%s %s the %d. time", call, errno, when)
				r := traced(t, log, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, errno, when))
				data, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				tried++
				injected += bytes.Count(data, []byte("(INJECTED)"))
				ended[judge(t, what, call, r)]++
			}
		}
	}
	if !bytes.Equal(before, mounts(t)) {
		t.Error("the host's mounts have changed")
	}
	t.Logf("%d faults tried, %d calls failed; how the launches ended: %v", tried, injected, ended)
	if injected < kit.Rounds(50, 300) {
		t.Errorf("only %d calls failed", injected)
	}
}

// judge looks at how a launch ended that met with a fault.
func judge(t *testing.T, what, call string, r kit.Result) string {
	t.Helper()
	told := regexp.MustCompile(`(?m)^runtime: .*\w`).MatchString(r.Err)
	kind := ""
	switch {
	case r.Code == 0:
		kind = "in spite of it"
	case r.Code == 125 && told:
		kind = "with an error"
	case call == "write" && r.Err == "" && (r.Code == 125 || r.Code == 128+int(syscall.SIGPIPE)):
		kind = "with an error that could not be written" // the same fault met the message
	case r.Code == 2 && slices.Contains(goOwn, call):
		kind = "by the Go runtime"
	case call == "execve" && r.Code == 126:
		kind = "as not executable"
	case (call == "newfstatat" || call == "execve") && (r.Code == 126 || r.Code == 127) && told:
		kind = "as not found"
	default:
		t.Errorf("%s: exit %d, %q", what, r.Code, r.Err)
		kind = "badly"
	}
	gone(t)
	if remains := left(t); remains != "" {
		if r.Code == 0 || !strings.Contains(r.Err, "runtime gc") && kind != "by the Go runtime" {
			t.Errorf("%s: exit %d, %q; left: %s", what, r.Code, r.Err, remains)
		}
		kind += ", the rest by gc"
		collect(t, what)
	}
	return kind
}

func TestKilledAtEveryCall(t *testing.T) {
	before, log := mounts(t), filepath.Join(t.TempDir(), "log")
	turn, tried, killed, orphans := 0, 0, 0, 0
	for call, most := range calls(t) {
		if call == "execve" { // the first is strace's
			continue
		}
		for when := 1; when <= most; when++ {
			if turn++; turn%kit.Every(6) != 0 {
				continue
			}
			what := fmt.Sprintf("killed at %s the %d. time", call, when)
			r := traced(t, log, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, when))
			tried++
			if r.Code == 128+int(syscall.SIGKILL) || r.Code == -1 {
				killed++
			}
			gone(t)
			if left(t) != "" {
				orphans++
				collect(t, what)
			}
		}
	}
	if !bytes.Equal(before, mounts(t)) {
		t.Error("the host's mounts have changed")
	}
	t.Logf("%d kills tried, %d launches died of them, %d left something, which gc removed", tried, killed, orphans)
	if killed < kit.Rounds(33, 200) {
		t.Error(errors.New("hardly any launch died"))
	}
}
