package nsexec

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var callNames = map[uintptr]string{
	unix.SYS_CAPSET: "capset", unix.SYS_CHDIR: "chdir", unix.SYS_CLOSE: "close", unix.SYS_CLOSE_RANGE: "close_range",
	unix.SYS_DUP3: "dup3", unix.SYS_EXECVE: "execve", unix.SYS_EXIT: "exit", unix.SYS_FCNTL: "fcntl", unix.SYS_FSCONFIG: "fsconfig",
	unix.SYS_FSMOUNT: "fsmount", unix.SYS_FSOPEN: "fsopen", unix.SYS_IOCTL: "ioctl", unix.SYS_KILL: "kill", unix.SYS_OPENAT: "openat",
	unix.SYS_PRCTL: "prctl", unix.SYS_PRLIMIT64: "prlimit64", unix.SYS_READ: "read", unix.SYS_RT_SIGACTION: "rt_sigaction",
	unix.SYS_RT_SIGPROCMASK: "rt_sigprocmask", unix.SYS_SECCOMP: "seccomp", unix.SYS_SETNS: "setns", unix.SYS_SETRESGID: "setresgid",
	unix.SYS_SETRESUID: "setresuid", unix.SYS_SETSID: "setsid", unix.SYS_UNSHARE: "unshare", unix.SYS_WRITE: "write",
}

// describe writes a program as text, one step a line: the system call and its
// arguments. A call whose failure is passed over has a question mark; that every other
// failure leads to the last place of the program, it checks. Addresses are called by
// the names in known, root's ids "root", and the result of an earlier step "=N", N
// being its line, from 0 on.
func describe(t *testing.T, p program, known map[unsafe.Pointer]string) []string {
	t.Helper()
	var text []string
	for i := range p {
		step := &p[i]
		line := callNames[step.number]
		if line == "" {
			line = fmt.Sprint("system call ", step.number)
		}
		switch step.onError {
		case nil:
			line += "?"
		case &p[:cap(p)][cap(p)-1]:
		default:
			t.Errorf("step %d, %s, leads elsewhere than to the last one when it fails", i, line)
		}
		last := len(step.args)
		for last > 0 && step.args[last-1] == &zero {
			last--
		}
		for _, arg := range step.args[:last] {
			line += " " + argument(p, arg, known)
		}
		text = append(text, line)
	}
	return text
}

func argument(p program, arg *uintptr, known map[unsafe.Pointer]string) string {
	switch arg {
	case &zero:
		return "0"
	}
	for i := range p {
		if arg == &p[i].result {
			return "=" + strconv.Itoa(i)
		}
	}
	for address, name := range known {
		if *arg == uintptr(address) {
			return name
		}
	}
	return strconv.Itoa(int(*arg))
}

// compare compares a program's description with what is wanted, and its last place with
// an exit of the status.
func compare(t *testing.T, p program, known map[unsafe.Pointer]string, status uintptr, want ...string) {
	t.Helper()
	if got := describe(t, p, known); !slices.Equal(got, want) {
		t.Errorf("the program is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(p) == cap(p) {
		t.Fatal("the program has no room for the exit after a failure")
	}
	if end := &p[:cap(p)][cap(p)-1]; end.number != unix.SYS_EXIT || *end.args[0] != status || end.onError != nil {
		t.Errorf("a failure ends with system call %d of %d, want exit of %d", end.number, *end.args[0], status)
	}
}

// What describe calls by name in every program.
func named(more map[unsafe.Pointer]string) map[unsafe.Pointer]string {
	known := map[unsafe.Pointer]string{
		unsafe.Pointer(&slash): `"/"`, unsafe.Pointer(&procName): `"proc"`, unsafe.Pointer(&initName): "initName",
		unsafe.Pointer(&keeperName): "keeperName", unsafe.Pointer(&ignore): "SIG_IGN", unsafe.Pointer(&oneByte): "byte",
		unsafe.Pointer(&noCapsFor): "header", unsafe.Pointer(&noCapsData): "none", unsafe.Pointer(&capHeader): "header",
	}
	for address, name := range more {
		known[address] = name
	}
	return known
}

// owner is a root that is like no other number in the programs.
var owner = Root{UID: 71, GID: 72}

func TestWhatPID1Does(t *testing.T) {
	i := &Init{line: &line{own: 7, child: 8, pidfd: -1}}
	if err := i.choosePIDs(); err != nil {
		t.Fatal(err)
	}
	i.write(owner)
	known := named(map[unsafe.Pointer]string{unsafe.Pointer(&i.names[0][0]): "last", unsafe.Pointer(&i.names[1][0]): "ns_last_pid"})
	compare(t, i.steps, known, 1,
		"setresgid 72 72 72",
		"setresuid 71 71 71",
		fmt.Sprint("prctl? ", unix.PR_SET_NAME, " initName"),
		fmt.Sprint("rt_sigaction ", int(unix.SIGCHLD), " SIG_IGN 0 8"),
		"setsid?",
		`chdir "/"`,
		fmt.Sprint("openat? ", unix.AT_FDCWD, " ns_last_pid ", unix.O_WRONLY|unix.O_CLOEXEC),
		fmt.Sprint("write? =6 last ", len(i.names[0])),
		"close? =6",
		`fsopen "proc" 1`,
		fmt.Sprint("fsconfig =9 ", unix.FSCONFIG_CMD_CREATE),
		fmt.Sprint("fsmount =9 1 ", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC),
		"close? =9",
		fmt.Sprint("close_range 9 ", math.MaxUint32, " ", unix.CLOSE_RANGE_UNSHARE),
		"close_range 0 7",
		"capset header none",
		fmt.Sprint("prctl ", unix.PR_SET_NO_NEW_PRIVS, " 1"),
		fmt.Sprint("prctl? ", unix.PR_SET_SECCOMP, " ", unix.SECCOMP_MODE_STRICT),
		"write 8 byte 1",
		"read? 8 byte 1",
		"exit?",
	)
}

func TestProcessIDsBeginAtANumberInRange(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		var i Init
		if err := i.choosePIDs(); err != nil {
			t.Fatal(err)
		}
		if i.last < firstPID || i.last >= firstPIDLess || string(i.names[0]) != strconv.Itoa(i.last) || string(i.names[1]) != lastPID+"\x00" {
			t.Errorf("%d, written as %q", i.last, i.names)
		}
		seen[i.last] = true
	}
	if len(seen) < 100 {
		t.Errorf("200 choices are %d numbers", len(seen))
	}
}

func TestWhatAKeeperDoes(t *testing.T) {
	for _, c := range []struct {
		fds    []int
		closes []string
	}{
		{[]int{3}, []string{"close_range 0 2", "close_range 4 8"}},
		{[]int{9, 0, 4}, []string{"close_range 1 3", "close_range 5 7"}},
		{[]int{0, 1, 2, 3, 4, 5, 6, 7}, nil},
	} {
		k := &Keeper{line: &line{own: 10, child: 8, pidfd: -1}}
		if c.fds[0] == 3 {
			k.line.child = 9
		}
		before := slices.Clone(c.fds)
		k.write(c.fds)
		highest := max(slices.Max(c.fds), k.line.child)
		want := append(c.closes, fmt.Sprintf("close_range %d %d", highest+1, math.MaxUint32), "capset header none",
			fmt.Sprint("prctl? ", unix.PR_SET_NAME, " keeperName"), fmt.Sprintf("read? %d byte 1", k.line.child), "exit?")
		compare(t, k.steps, named(nil), 1, want...)
		if !slices.Equal(c.fds, before) {
			t.Errorf("the descriptors are %v afterwards, %v before", c.fds, before)
		}
	}
}

// fullCommand is a command that uses everything but what a UserNamespace or a Cgroup is
// for.
func fullCommand() Command {
	return Command{
		Path: "/bin/true", Args: []string{"true"}, Env: []string{"A=1"},
		Files: [3]uintptr{0, 5, 6}, Kept: []int{3, 4, 9}, Terminal: 7,
		Limits: []Limit{{unix.RLIMIT_CORE, unix.Rlimit{Cur: 1, Max: 2}}, {unix.RLIMIT_NOFILE, unix.Rlimit{Cur: 3, Max: 4}}},
		Filter: []unix.SockFilter{{}}, Dirs: []string{"/a", "/b"}, DirRequired: true,
	}
}

// steps are those of fullCommand, with those of its user namespace or control group.
func steps(of ...string) []string {
	list := []string{
		"setsid",
		fmt.Sprint("fcntl 0 ", unix.F_SETFD), "dup3 5 1", "dup3 6 2",
		fmt.Sprint("ioctl 7 ", unix.TIOCSCTTY),
		fmt.Sprint("prlimit64 0 ", unix.RLIMIT_CORE, " limit"), fmt.Sprint("prlimit64 0 ", unix.RLIMIT_NOFILE, " limit"),
	}
	list = append(list, of...)
	return append(list,
		fmt.Sprint("fcntl 3 ", unix.F_SETFD), fmt.Sprint("fcntl 4 ", unix.F_SETFD), fmt.Sprint("fcntl 9 ", unix.F_SETFD),
		"close_range 5 8", fmt.Sprint("close_range 10 ", math.MaxUint32),
		"chdir? dir", "chdir dir",
		fmt.Sprint("seccomp ", unix.SECCOMP_SET_MODE_FILTER, " ", unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, " filter"),
		fmt.Sprint("rt_sigprocmask ", unix.SIG_SETMASK, " noSignals 0 8"),
		"execve path argv envp",
	)
}

// compareCommand compares the program of a command, and returns it.
func compareCommand(t *testing.T, c Command, want []string) *commandProgram {
	t.Helper()
	b, err := c.program()
	if err != nil {
		t.Fatal(err)
	}
	known := map[unsafe.Pointer]string{
		unsafe.Pointer(&b.caps): "caps", unsafe.Pointer(b.path): "path", unsafe.Pointer(&b.argv[0]): "argv", unsafe.Pointer(&b.envp[0]): "envp",
		unsafe.Pointer(&b.filter): "filter", unsafe.Pointer(&b.noSignals): "noSignals",
	}
	for i := range b.limits {
		known[unsafe.Pointer(&b.limits[i].Rlimit)] = "limit"
	}
	for _, dir := range b.dirs[:len(c.Dirs)] {
		known[unsafe.Pointer(dir)] = "dir"
	}
	compare(t, b.steps, named(known), 127, want...)
	return b
}

func TestWhatACommandDoesBeforeItIsExecuted(t *testing.T) {
	c := fullCommand()
	compareCommand(t, c, steps())

	c.Cgroup = 11
	uid := os.Getuid()
	b := compareCommand(t, c, steps(fmt.Sprintf("setresuid %d %d %d", uid, uid, uid), "capset header caps"))
	if got := b.own.Permitted & ownerOfCgroup; got != 0 {
		t.Error("the command keeps the capability by which it got into the group")
	}

	c.UserNamespace = &UserNamespace{Owner: owner, FD: 12, Keep: 1<<unix.CAP_CHOWN | 1<<unix.CAP_SYS_ADMIN}
	enter := []string{"capset header caps", "setresuid 71 71 71", fmt.Sprint("setns 12 ", unix.CLONE_NEWUSER), "setresgid", "setresuid"}
	for c := range lastCapability() + 1 {
		if c == unix.CAP_CHOWN || c == unix.CAP_SYS_ADMIN {
			continue
		}
		enter = append(enter, fmt.Sprint("prctl ", unix.PR_CAPBSET_DROP, " ", c))
	}
	compareCommand(t, c, steps(enter...))
}

func TestWhatACommandOfNothingElseDoes(t *testing.T) {
	c := Command{Path: "/bin/true", Files: [3]uintptr{0, 1, 2}}
	compareCommand(t, c, []string{"setsid", fmt.Sprint("fcntl 0 ", unix.F_SETFD), fmt.Sprint("fcntl 1 ", unix.F_SETFD), fmt.Sprint("fcntl 2 ", unix.F_SETFD),
		fmt.Sprint("close_range 3 ", math.MaxUint32), fmt.Sprint("rt_sigprocmask ", unix.SIG_SETMASK, " noSignals 0 8"), "execve path argv envp"})
}

// The launcher's descriptors are closed before the first path of the caller's is looked
// up, whatever a command has.
func TestDescriptorsAreClosedBeforeAPathIsLookedUp(t *testing.T) {
	c := fullCommand()
	c.UserNamespace = &UserNamespace{Owner: owner, FD: 12}
	b, err := c.program()
	if err != nil {
		t.Fatal(err)
	}
	closed := slices.IndexFunc(b.steps, func(s systemCall) bool {
		return s.number == unix.SYS_CLOSE_RANGE && *s.args[1] == math.MaxUint32
	})
	path := slices.IndexFunc(b.steps, func(s systemCall) bool { return s.number == unix.SYS_CHDIR || s.number == unix.SYS_EXECVE })
	if closed < 0 || path < closed {
		t.Errorf("descriptors are closed by step %d, a path is looked up by step %d", closed, path)
	}
}

func TestWhatCannotBeACommandIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Command){
		"a path with a NUL":                 func(c *Command) { c.Path = "a\x00b" },
		"an argument with a NUL":            func(c *Command) { c.Args = []string{"a\x00b"} },
		"a variable with a NUL":             func(c *Command) { c.Env = []string{"a\x00b"} },
		"a directory with a NUL":            func(c *Command) { c.Dirs = []string{"a\x00b"} },
		"standard output as standard input": func(c *Command) { c.Files = [3]uintptr{1, 1, 2} },
		"standard input as standard error":  func(c *Command) { c.Files = [3]uintptr{0, 1, 0} },
	} {
		c := fullCommand()
		change(&c)
		if _, err := c.program(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
	}
}

func TestWhatWentWrongBeforeACommandWasExecuted(t *testing.T) {
	find := func(b *commandProgram, nr uintptr) *systemCall {
		return &b.steps[slices.IndexFunc(b.steps, func(s systemCall) bool { return s.number == nr })]
	}
	for name, c := range map[string]struct {
		happened func(*commandProgram)
		want     string
		dir      int
	}{
		"nothing":                    {func(*commandProgram) {}, "", 1},
		"execve":                     {func(b *commandProgram) { fail(b.execute, unix.ENOENT) }, unix.ENOENT.Error(), 1},
		"a directory that may fail":  {func(b *commandProgram) { fail(b.chdirs[0], unix.EACCES) }, "", 1},
		"the directory that may not": {func(b *commandProgram) { fail(b.chdirs[1], unix.EACCES) }, "change directory: permission denied", 0},
		"both": {func(b *commandProgram) { fail(b.chdirs[0], unix.ENOENT); fail(b.chdirs[1], unix.EACCES) },
			"change directory: permission denied", -1},
		"another step": {func(b *commandProgram) { fail(find(b, unix.SYS_SETSID), unix.EPERM) },
			fmt.Sprintf("system call %d before execve: operation not permitted", unix.SYS_SETSID), 1},
	} {
		command := fullCommand()
		b, err := command.program()
		if err != nil {
			t.Fatal(err)
		}
		c.happened(b)
		got := ""
		if err := b.failure(); err != nil {
			got = err.Error()
		}
		if got != c.want || b.entered() != c.dir {
			t.Errorf("%s: %q, in directory %d; want %q, %d", name, got, b.entered(), c.want, c.dir)
		}
	}
}

func TestWhatARootChildDoes(t *testing.T) {
	child, err := newRootChild(owner, 3)
	if err != nil {
		t.Fatal(err)
	}
	child.dumpable()
	file := child.open("/a", unix.O_RDONLY)
	child.must("close", unix.SYS_CLOSE, &file.result)
	child.must("exit", unix.SYS_EXIT, &zero)
	path := child.kept[0].([]byte)
	known := named(map[unsafe.Pointer]string{unsafe.Pointer(&child.caps): "caps", unsafe.Pointer(&path[0]): "path"})
	compare(t, child.steps, known, 1, "capset header caps", "setresuid 71 71 71",
		fmt.Sprint("prctl ", unix.PR_SET_DUMPABLE, " 1"), fmt.Sprint("openat ", unix.AT_FDCWD, " path ", unix.O_CLOEXEC), "close =3", "exit")
	if string(path) != "/a\x00" {
		t.Errorf("the path is %q", path)
	}
	own, err := CurrentCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Capabilities{Effective: own.Permitted, Permitted: own.Permitted, Inheritable: own.Inheritable}).data(); child.caps != want {
		t.Errorf("it has %+v, want all that the thread is permitted effective, %+v", child.caps, want)
	}
	fail(file, unix.ENOENT)
	if err := child.failure(); !errors.Is(err, unix.ENOENT) || err.Error() != "open /a: no such file or directory" {
		t.Errorf("%v", err)
	}
}

// fail has a step return an error.
func fail(s *systemCall, errno unix.Errno) { s.result = -uintptr(errno) }

// A program cannot grow over its end, nor into the exit after a failure.
func TestAProgramHasItsRoomAndNoMore(t *testing.T) {
	p := newProgram(2)
	fail := p.last(unix.SYS_EXIT, number(1))
	first := p.add(fail, unix.SYS_GETPID)
	second := p.add(fail, unix.SYS_GETPID)
	if first != &p[0] || second != &p[1] || fail != second {
		t.Error("the steps are elsewhere than in the program")
	}
	defer func() {
		if recover() == nil {
			t.Error("a third step fits in a program of two")
		}
	}()
	p.add(fail, unix.SYS_GETPID)
}

// The assembly and the kernel take these from memory.
func TestArgumentsHaveTheKernelsLayout(t *testing.T) {
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sizeof clone_args", unsafe.Sizeof(cloneArgs{}), 88},
		{"offsetof clone_args.pidfd", unsafe.Offsetof(cloneArgs{}.pidfd), 8},
		{"offsetof clone_args.exit_signal", unsafe.Offsetof(cloneArgs{}.exitSignal), 32},
		{"offsetof clone_args.cgroup", unsafe.Offsetof(cloneArgs{}.cgroup), 80},
		{"sizeof ifreq", unsafe.Sizeof(loopbackUp), 40},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.what, c.got, c.want)
		}
	}
	want := append([]byte("lo"), make([]byte, 38)...)
	want[16] = unix.IFF_UP // both architectures are little-endian
	if !slices.Equal(loopbackUp[:], want) {
		t.Errorf("ifreq is %q, want %q", loopbackUp, want)
	}
	caps := Capabilities{Effective: 1<<40 | 2, Permitted: 3<<32 | 4, Inheritable: 5}
	if got := caps.data(); got != (capData{{Effective: 2, Permitted: 4, Inheritable: 5}, {Effective: 1 << 8, Permitted: 3}}) {
		t.Errorf("%+v is %+v", caps, got)
	}
}

func TestMapsAreWrittenInTheKernelsOrder(t *testing.T) {
	uids, gids := []IDMap{{0, 100000, 1000}, {1000, 1000, 1}}, []IDMap{{0, 5, 1}}
	for _, keepGroups := range []bool{false, true} {
		text := ""
		for _, f := range mapFiles(uids, gids, keepGroups) {
			text += fmt.Sprintf("%s: %q\n", f.name, f.text)
		}
		want := "uid_map: \"0 100000 1000\\n1000 1000 1\\n\"\ngid_map: \"0 5 1\\n\"\n"
		if keepGroups {
			want = "setgroups: \"deny\"\n" + want
		}
		if text != want {
			t.Errorf("with keepGroups %v: %s, want %s", keepGroups, text, want)
		}
	}
}

func TestTheLastCapabilityIsTheKernels(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	if got := strconv.Itoa(lastCapability()); got != strings.TrimSpace(string(text)) {
		t.Errorf("%s, the kernel says %s", got, text)
	}
}

func TestTheFirstErrorMatters(t *testing.T) {
	if err := firstError(nil, unix.EPERM, unix.ENOENT); err != unix.EPERM {
		t.Error(err)
	}
	if err := firstError(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestAnArgumentBlockIsWhatExecveTakes(t *testing.T) {
	args := []string{"/bin/newuidmap", "", "0 1 2"}
	block := make([]byte, 256)
	for i := range block {
		block[i] = 0xff
	}
	used, err := ArgumentBlock(block, args)
	if err != nil {
		t.Fatal(err)
	}
	words := unsafe.Slice((*uintptr)(unsafe.Pointer(&block[0])), len(used)/8)
	at := func(address uintptr) int { return int(address - uintptr(unsafe.Pointer(&block[0]))) }
	text := func(address uintptr) string { return unix.ByteSliceToString(used[at(address):]) }
	argv, envp := words[at(words[1])/8:], words[at(words[2])/8:]
	for i, want := range args {
		if got := text(argv[i]); got != want {
			t.Errorf("argument %d is %q, want %q", i, got, want)
		}
	}
	if text(words[0]) != args[0] || argv[len(args)] != 0 || envp[0] != 0 {
		t.Errorf("path %q, pointers after the arguments %#x, environment %#x", text(words[0]), argv[len(args)], envp[0])
	}
	if used[len(used)-1] != 0 || block[len(used)] != 0xff {
		t.Error("it tells another length than it has written")
	}
	if _, err := ArgumentBlock(block[:len(used)], args); err != nil {
		t.Errorf("in a block of just that size: %v", err)
	}
	if _, err := ArgumentBlock(block[:len(used)-1], args); err != unix.E2BIG {
		t.Errorf("in a block of a byte less: %v, want E2BIG", err)
	}
}
