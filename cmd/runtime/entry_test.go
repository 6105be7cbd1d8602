package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/rootless"
)

// The command table and the entry point must agree on what is done for a command: one
// that wants no user namespace would be in one without ids.
func TestTheEntryPointKnowsTheCommandsTraits(t *testing.T) {
	found := 0
	for _, c := range commands() {
		argv := cStrings("runtime", c.name)
		if known := traitsOf(2, unsafe.Pointer(&argv[0])); known != c.traits {
			t.Errorf("%s: the entry point knows the traits %#x; the command table has %#x", c.name, known, c.traits)
		}
		if c.traits != 0 {
			found++
		}
		if c.traits&early != 0 && c.rootless != asCaller || c.traits != 0 && c.sub != nil {
			t.Errorf("%s is early, and takes place elsewhere than in a user namespace of the caller's", c.name)
		}
	}
	if found != len(commandTraits) {
		t.Errorf("%v; the command table has %d of them", commandTraits, found)
	}
	for _, args := range [][]string{{}, {"runtime"}, {"run"}, {"runtime", ""}, {"runtime", "ru"}, {"runtime", "runs"}, {"runtime", "shel"},
		{"runtime", "shell "}, {"runtime", "-h", "run"}, {"runtime", "image", "shell"}} {
		argv := cStrings(args...)
		if has := traitsOf(len(args), unsafe.Pointer(&argv[0])); has != 0 {
			t.Errorf("%q has the traits %#x", args, has)
		}
	}
}

func TestSettingsOfTheGoRuntimeAreHidden(t *testing.T) {
	for _, c := range []struct {
		before, after []string
		asked         bool
	}{
		{nil, nil, false},
		{[]string{"", "G", "GO", "GODEBUG=x", "go=1", "AGO=1", "HOME=/GO"}, []string{"", "G", "\x01O", "\x01ODEBUG=x", "go=1", "AGO=1", "HOME=/GO"}, false},
		{[]string{rootless.EntryVariable, rootless.EntryVariable + "S=1", "X" + rootless.EntryVariable + "=1"},
			[]string{rootless.EntryVariable, rootless.EntryVariable + "S=1", "X" + rootless.EntryVariable + "=1"}, false},
		{[]string{"GOGC=1", rootless.EntryVariable + "=", "A=1"}, []string{"\x01OGC=1", rootless.EntryVariable + "=", "A=1"}, true},
	} {
		environment := cStrings(c.before...)
		asked, auxv := hideGoVariables(unsafe.Pointer(&environment[0]))
		if after := uintptr(auxv) - uintptr(unsafe.Pointer(&environment[0])); asked != c.asked || after != uintptr(len(c.before)+1)*unsafe.Sizeof(auxv) {
			t.Errorf("%q: a user namespace is asked for: %v; the auxiliary vector is %d bytes from the environment", c.before, asked, after)
		}
		var after []string
		for _, p := range environment[:len(environment)-1] {
			after = append(after, unix.BytePtrToString((*byte)(p)))
		}
		if !slices.Equal(after, c.after) {
			t.Errorf("%q became %q, want %q", c.before, after, c.after)
		}
	}
}

func TestAVariableIsAddedToTheEnvironment(t *testing.T) {
	for _, c := range []struct{ argv, environment []string }{{[]string{"a"}, nil}, {[]string{"a", "b"}, []string{"C=1", "D=2"}}, {nil, []string{"C=1"}}} {
		list := []unsafe.Pointer{unsafe.Pointer(&[]byte("argc")[0])}
		for _, texts := range [][]string{c.argv, c.environment} {
			list = append(list, cStrings(texts...)...)
		}
		auxv := unsafe.Pointer(&[]byte("auxv")[0])
		list = append(list, auxv)
		addVariable(unsafe.Pointer(&list[1]), unsafe.Pointer(&[]byte("X=1\x00")[0]))
		var after []string
		for _, p := range list[:len(list)-1] {
			if p == nil {
				after = append(after, "nil")
				continue
			}
			after = append(after, unix.BytePtrToString((*byte)(p)))
		}
		want := slices.Concat(c.argv, []string{"nil"}, c.environment, []string{"X=1", "nil"})
		if !slices.Equal(after, want) || list[len(list)-1] != auxv {
			t.Errorf("%q, %q became %q", c.argv, c.environment, after)
		}
	}
}

func TestALeanCommandHasTheGoRuntimeDoLittle(t *testing.T) {
	program := link(t)
	var b begun
	program.do(t, tellBegun, start{args: []string{"exec"}, before: "ulimit -S -n 64"}, &b)
	if b.Processors != 1 || b.Slack <= 0 || b.Slack >= timerSlack {
		t.Errorf("%d processors, the caller's timer slack is %d ns", b.Processors, b.Slack)
	}
	if files := b.Limits["RLIMIT_NOFILE"]; files.Cur != files.Max {
		t.Errorf("%+v is the limit of open files", files)
	}
	if slices.Contains(b.Env, "GOMAXPROCS=1") {
		t.Errorf("what was added to the environment is still there: %q", b.Env)
	}
	program.do(t, tellBegun, start{args: []string{"image", "list"}}, &b)
	if b.Processors == 1 && goruntime.NumCPU() > 1 || b.Slack != 0 {
		t.Errorf("a command without traits: %+v", b)
	}
}

func TestTheAuxiliaryVectorIsRead(t *testing.T) {
	vector := [][2]uintptr{{33, 1}, {13, 4}, {12, 3}, {11, 2}, {14, 9}, {6, 5}, {0, 0}, {11, 7}}
	if got, want := readAuxv(unsafe.Pointer(&vector[0])), (auxiliary{uid: 2, euid: 3, gid: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// cStrings are what execve(2) puts on the stack of texts: pointers, and a nil one. What
// follows that is there, too: the auxiliary vector's place.
func cStrings(texts ...string) []unsafe.Pointer {
	var list []unsafe.Pointer
	for _, s := range texts {
		list = append(list, unsafe.Pointer(&append([]byte(s), 0)[0]))
	}
	return append(list, nil, nil)[:len(list)+1]
}

// A begun is what a program that was linked with the entry point finds in main.
type begun struct {
	Processors int
	Slack      int // the caller's timer slack, where it is another now
	Env        []string
	Blocked    string                 // mask of blocked signals, in hexadecimal
	Flags      map[int]int            // of open descriptors (F_GETFD)
	Files      map[int]string         // what they are
	Limits     map[string]unix.Rlimit // as they are now
	Callers    map[string]unix.Rlimit // as the caller had set them
	Bootstrap  rootless.Bootstrap
	Errno      syscall.Errno
	Namespace  string // the user namespace that the program is in
	Mappers    []int  // wait statuses
}

// In this process, executed again, these are set to have it do something else than
// tests: tell on descriptor 3 what it finds; make a user namespace in the usual way.
const (
	tellBegun     = "MAYFLY_TEST_BEGUN"
	tellNamespace = "MAYFLY_TEST_NAMESPACE"
)

func TestMain(m *testing.M) {
	var report any
	switch {
	case os.Getenv(tellBegun) != "":
		report = describeBegun()
	case os.Getenv(tellNamespace) != "":
		report = makesNamespace()
	default:
		os.Exit(m.Run())
	}
	if err := json.NewEncoder(os.NewFile(3, "report")).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func describeBegun() begun {
	if err := unhurry(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	b := begun{Processors: goruntime.GOMAXPROCS(0), Slack: hurried.slack, Env: os.Environ(), Flags: map[int]int{}, Files: map[int]string{}, Limits: map[string]unix.Rlimit{}, Callers: map[string]unix.Rlimit{}}
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "\nSigBlk:")
	b.Blocked, _, _ = strings.Cut(strings.TrimSpace(after), "\n")
	for fd := range 16 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			b.Flags[fd] = flags
			b.Files[fd], _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		}
	}
	for _, l := range limits {
		var now unix.Rlimit
		_ = unix.Getrlimit(int(l.resource), &now)
		b.Limits[l.name], b.Callers[l.name] = now, l.callers
	}
	b.Namespace, _ = os.Readlink("/proc/self/ns/user")
	b.Bootstrap = bootstrap()
	errors.As(b.Bootstrap.Err, &b.Errno)
	b.Bootstrap.Err = nil // what it is cannot be decoded
	for _, m := range b.Bootstrap.Mappers {
		// The first executes a command, and the second ends with its pipe.
		if len(b.Mappers) == 0 {
			block, err := nsexec.ArgumentBlock(b.Bootstrap.Block, []string{"/bin/readlink", "/proc/self/ns/user"})
			if err == nil {
				_, err = unix.Write(m.Line, block)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		unix.Close(m.Line)
		var status unix.WaitStatus
		_, _ = unix.Wait4(m.PID, &status, 0, nil)
		b.Mappers = append(b.Mappers, int(status))
	}
	b.Bootstrap.Block = nil
	return b
}

// makesNamespace tells with which error this process, in which the entry point has made
// none, can make a user namespace.
func makesNamespace() (errno syscall.Errno) {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	errors.As(cmd.Run(), &errno)
	return errno
}

// An entered is this test program, linked with the entry point.
type entered struct{ program string }

// link puts it where every user may execute it.
func link(t *testing.T) entered {
	t.Helper()
	dir, err := os.MkdirTemp("", "entry-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e := entered{filepath.Join(dir, "program")}
	cmd := exec.Command("go", "test", "-c", "-ldflags=-E=_rt0_mayfly", "-o", e.program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goruntime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return e
}

// A start is how the program is executed.
type start struct {
	args   []string
	env    []string
	uid    int // 0: as this process
	caps   []uintptr
	before string // what a shell does first, which then executes the program
}

// do has the program do something (tellBegun), and returns what it writes to standard
// output and error. It decodes its report.
func (e entered) do(t *testing.T, what string, s start, report any) string {
	t.Helper()
	command := append([]string{"-c", s.before + "\nexec \"$@\"", "sh"}, append(emulator(), e.program)...)
	cmd := exec.Command("/bin/sh", append(command, s.args...)...)
	cmd.Env = append(append(os.Environ(), what+"=1"), s.env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	if s.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}, AmbientCaps: s.caps}
	}
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	decoded := json.NewDecoder(read).Decode(report)
	if err := errors.Join(decoded, cmd.Wait()); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.Bytes())
	}
	return said.String()
}

// emulator is the program that executes those of this architecture, where it is not the
// machine's (integration/arm64).
func emulator() []string { return strings.Fields(os.Getenv("MAYFLY_EMULATOR")) }

func TestTheProgramBeginsWithoutWhatTheCallerHasSetUp(t *testing.T) {
	program := link(t)
	goruntime.LockOSThread() // what it blocks, the shell inherits
	defer goruntime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	var b begun
	program.do(t, tellBegun, start{
		args:   []string{"version"},
		env:    []string{"GODEBUG=inittrace=1", "GOMAXPROCS=1", "GOGC=1"},
		before: "ulimit -S -f 1000; ulimit -S -n 64; exec 5</dev/null 7</dev/null",
	}, &b)

	if strings.Trim(b.Blocked, "0") != "" || b.Blocked == "" {
		t.Errorf("blocked signals: %q", b.Blocked)
	}
	for _, name := range []string{"ODEBUG=inittrace=1", "OMAXPROCS=1", "OGC=1"} {
		if !slices.Contains(b.Env, "\x01"+name) || slices.Contains(b.Env, "G"+name) {
			t.Errorf("G%s is not hidden: %q", name, b.Env)
		}
	}
	for _, fd := range []int{3, 5, 7} {
		if flags, open := b.Flags[fd]; !open || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %#x, open: %v; want FD_CLOEXEC", fd, flags, open)
		}
	}
	for fd := range 3 {
		if b.Flags[fd] != 0 {
			t.Errorf("descriptor %d: flags %#x, want none", fd, b.Flags[fd])
		}
	}
	for name, now := range b.Limits {
		if callers := b.Callers[name]; now.Cur != now.Max || now.Max != callers.Max {
			t.Errorf("%s: %+v, the caller's %+v; want the soft limit at the hard one", name, now, callers)
		}
	}
	if size, files := b.Callers["RLIMIT_FSIZE"].Cur, b.Callers["RLIMIT_NOFILE"].Cur; size != 1000*512 || files != 64 {
		t.Errorf("the caller's limits are found to be %d bytes and %d files, want %d and 64", size, files, 1000*512)
	}
	if b.Bootstrap.Tried {
		t.Errorf("%+v for a command that needs no user namespace", b.Bootstrap)
	}
}

func TestWhoGetsAUserNamespaceFromTheEntryPoint(t *testing.T) {
	program := link(t)
	ask := []string{rootless.EntryVariable + "=enter"}
	nobody, group := os.Getuid(), os.Getgid()
	if nobody == 0 {
		nobody, group = 65534, 65534
	}
	type test struct {
		start
		tried bool
	}
	tests := map[string]test{
		"run":                       {start{args: []string{"run", "image"}, uid: nobody}, true},
		"shell":                     {start{args: []string{"shell"}, uid: nobody}, true},
		"a command that asks":       {start{args: []string{"image", "list"}, uid: nobody, env: ask}, true},
		"no command, asking":        {start{uid: nobody, env: ask}, true},
		"a command that asks not":   {start{args: []string{"image", "list"}, uid: nobody}, false},
		"no command":                {start{uid: nobody}, false},
		"closed standard files":     {start{args: []string{"run"}, uid: nobody, before: "exec <&- >&-"}, true},
		"closed standard error too": {start{args: []string{"run"}, uid: nobody, before: "exec >&- 2>&-"}, true},
	}
	if os.Getuid() == 0 {
		tests["root"] = test{start{args: []string{"run", "image"}, env: ask}, false}
		tests["a caller with a capability"] = test{start{args: []string{"run"}, env: ask, uid: nobody, caps: []uintptr{unix.CAP_AUDIT_WRITE}}, false}
		tests["a caller with a high capability"] = test{start{args: []string{"run"}, env: ask, uid: nobody, caps: []uintptr{unix.CAP_BPF}}, false}
	}
	var refused syscall.Errno
	program.do(t, tellNamespace, start{uid: nobody}, &refused)
	outside, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			var b begun
			said := program.do(t, tellBegun, c.start, &b)
			closed := strings.Contains(c.before, ">&-")
			if closed && (b.Files[0] == "" || b.Files[1] == "" || strings.Contains(b.Files[1], "pipe") || b.Flags[1]&unix.FD_CLOEXEC != 0) {
				t.Errorf("%v are the program's files, with flags %v", b.Files, b.Flags)
			}
			got := b.Bootstrap
			if !c.tried {
				if !reflect.DeepEqual(got, rootless.Bootstrap{}) || b.Namespace != outside {
					t.Errorf("%+v, in %s; want the namespace of this process, %s", got, b.Namespace, outside)
				}
				return
			}
			if !got.Tried || b.Errno != refused || got.UID != uint32(nobody) || got.GID != uint32(group) {
				t.Errorf("%+v, %v; want it tried for user %d, %v", got, b.Errno, nobody, refused)
			}
			if len(got.Mappers) != 2 || !slices.Equal(b.Mappers, []int{0, 0}) || len(got.Opened) != 4 || slices.Min(got.Opened) < 3 {
				t.Errorf("%+v: want two mappers that end with status 0, %v", got, b.Mappers)
			}
			if inside := b.Namespace != outside; inside != (refused == 0) {
				t.Errorf("in %s, this process in %s: %v", b.Namespace, outside, refused)
			}
			if want := outside + "\n"; !closed && said != want {
				t.Errorf("the mapper says %q, want %q", said, want)
			}
		})
	}
}
