package inherit

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/given"
	"mayfly/runtime/plan"
)

// startedWith makes it look as if the program had been started with descriptors.
func startedWith(t *testing.T, fds ...int) {
	t.Helper()
	before := inherited
	t.Cleanup(func() { inherited = before })
	slices.Sort(fds)
	inherited.fds, inherited.passed, inherited.keeper = fds, nil, nil
}

// opened opens a file, which is closed at the end of the test.
func opened(t *testing.T, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// pipe makes a pipe, which is closed at the end of the test.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestWhatLeadsOutOfTheContainerDoesNotPass(t *testing.T) {
	dir := t.TempDir()
	r, w := pipe(t)
	memory, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(event)
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	for _, c := range []struct {
		what string
		fd   int
		want string // in the refusal; "": it passes
	}{
		{"a pipe's end to read from", r, ""},
		{"a pipe's end to write to", w, ""},
		{"a socket", socket, ""},
		{"a file in memory", memory, ""},
		{"the null device", opened(t, "/dev/null", unix.O_RDWR), ""},
		{"a directory", opened(t, dir, unix.O_RDONLY), "use --bind"},
		{"a path", opened(t, dir, unix.O_PATH), "O_PATH"},
		{"a file's path", opened(t, "/dev/null", unix.O_PATH), "O_PATH"},
		{"a process's memory map", opened(t, "/proc/self/maps", unix.O_RDONLY), "tells of processes outside"},
		{"a namespace", opened(t, "/proc/self/ns/mnt", unix.O_RDONLY), "tells of processes outside"},
		{"what is no file at all", event, "neither a file, pipe nor socket"},
		{"a process", pidfd, "is "}, // of what kind it is depends on the kernel
		{"what is not open", 1 << 20, "cannot be looked at"},
	} {
		err := mayPass(here.Here{}, c.fd)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
}

func TestATerminalOfTheCallersDoesNotPass(t *testing.T) {
	master := opened(t, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	for what, fd := range map[string]int{"terminal": opened(t, fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY), "master": master} {
		if err := mayPass(here.Here{}, fd); err == nil {
			t.Errorf("a %s passes", what)
		}
	}
}

func TestOnlyFileSystemsThatAnswerByThemselvesAreOnTheList(t *testing.T) {
	fd := opened(t, filepath.Join(t.TempDir(), "file"), unix.O_CREAT|unix.O_RDWR)
	for kind, want := range map[uint32]bool{
		unix.TMPFS_MAGIC: true, unix.EXT4_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.NFS_SUPER_MAGIC: true,
		unix.FUSE_SUPER_MAGIC: false, unix.V9FS_MAGIC: false, unix.PROC_SUPER_MAGIC: false, 0: false, math.MaxUint32: false,
	} {
		if got := answers(here.Here{}, fd, kind); got != want {
			t.Errorf("type %#x: %v", kind, got)
		}
	}
	// An overlay is one that root has mounted here, where the kernel lists the mount.
	if !answers(here.Here{}, fd, unix.OVERLAYFS_SUPER_MAGIC) {
		t.Error("a file of a mount that is listed does not answer")
	}
	tree, err := mount.New("tmpfs", nil, 0)
	if err != nil {
		return // which takes a capability; the list is all that a user's test can see
	}
	defer tree.Close()
	if answers(here.Here{}, tree.FD(), unix.OVERLAYFS_SUPER_MAGIC) {
		t.Error("a file of a mount that is listed nowhere answers")
	}
}

func TestTheFirstDescriptorsArePassedAndNoGapIn(t *testing.T) {
	r, _ := pipe(t)
	high, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	for _, c := range []struct {
		fds   []int
		count int
		want  string
	}{
		{nil, 0, ""},
		{[]int{high}, 0, ""},
		{[]int{high}, 1, "descriptor 3 is not open"},
		{[]int{4, high}, 2, "descriptor 3 is not open"},
	} {
		startedWith(t, c.fds...)
		fds, err := passable(here.Here{}, c.count)
		if c.want == "" && (err != nil || len(fds) != c.count) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || fds != nil) {
			t.Errorf("%d of %v: %v, %v", c.count, c.fds, fds, err)
		}
	}
}

func TestHowManyArePassedIsBounded(t *testing.T) {
	startedWith(t)
	for _, count := range []int{-1, mostPassed + 1, math.MaxInt, math.MinInt} {
		if err := Pass(here.Here{}, &plan.Request{}, count); err == nil || !strings.Contains(err.Error(), "want a number from 0 to 256") {
			t.Errorf("%d: %v", count, err)
		}
	}
	if err := Pass(here.Here{}, &plan.Request{}, 1); err == nil || !strings.Contains(err.Error(), "--preserve-fds 1: descriptor 3 is not open") {
		t.Errorf("%v", err)
	}
	t.Setenv("LISTEN_PID", "")
	t.Setenv("MAKEFLAGS", "")
	var r plan.Request
	if err := Pass(here.Here{}, &r, 0); err != nil || r.Passing.Asked != nil || r.Passing.Listening != 0 || r.Passing.Jobserver != nil {
		t.Errorf("%+v, %v", r.Passing, err)
	}
}

func TestSocketsOfAServiceManagerAreForOneProcess(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		pid, fds string
		want     int
		refused  bool
	}{
		{own, "3", 3, false}, {own, "0", 0, false}, {own, "256", 256, false},
		{own, "257", 0, true}, {own, "-1", 0, true}, {own, "", 0, true}, {own, "x", 0, true}, {own, "99999999999999999999", 0, true},
		{"", "3", 0, false}, {strconv.Itoa(os.Getppid()), "3", 0, false}, {"0" + own, "3", 0, false}, {own + " ", "x", 0, false},
	} {
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDS", c.fds)
		got, err := listening()
		if got != c.want || (err != nil) != c.refused {
			t.Errorf("LISTEN_PID=%s LISTEN_FDS=%s: %d, %v", c.pid, c.fds, got, err)
		}
	}
}

func TestMakesFlagsAreTheRequestsOwnFirst(t *testing.T) {
	t.Setenv("MAKEFLAGS", "of the environment")
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "of the environment"},
		{[]string{"MAKEFLAGS", "MAKEFLAGSX=no"}, "of the environment"},
		{[]string{"MAKEFLAGS=first", "MAKEFLAGS=last"}, "last"},
		{[]string{"MAKEFLAGS="}, ""},
	} {
		if got := flagsOf(&plan.Request{Env: c.env}); got != c.want {
			t.Errorf("%q: %q", c.env, got)
		}
	}
}

func TestAJobserverIsAPipeThatTheProgramWasStartedWith(t *testing.T) {
	r, w := pipe(t)
	file := opened(t, filepath.Join(t.TempDir(), "file"), unix.O_CREAT|unix.O_RDWR)
	startedWith(t, r, w, file)
	for _, c := range []struct {
		flags string
		found bool
	}{
		{fmt.Sprintf("-j4 --jobserver-auth=%d,%d", r, w), true},
		{fmt.Sprintf(" -j --jobserver-fds=%d,%d -w", r, w), true}, // before make 4.2
		{"", false},
		{"-j4", false},
		{"--jobserver-auth=", false},
		{"--jobserver-auth", false},
		{fmt.Sprintf("--jobserver-auth=%d", r), false},
		{fmt.Sprintf("--jobserver-auth=%d,%d,%d", r, w, w), false},
		{fmt.Sprintf("--jobserver-auth=%d,x", r), false},
		{"--jobserver-auth=-2,-2", false}, // of a make that does not share
		{"--jobserver-auth=0,1", false},   // what it was not started with besides 0, 1 and 2
		{fmt.Sprintf("--jobserver-auth=%d,%d", file, file), false},
		{fmt.Sprintf("--jobserver-auth=%d,%d --jobserver-auth=%d,%d", file, w, r, w), true}, // the first that can be used
	} {
		j := findJobserver(here.Here{}, c.flags)
		if (j != nil) != c.found {
			t.Errorf("%q: %+v", c.flags, j)
			continue
		}
		if j != nil && (j.Read != r || j.Write != w || !strings.Contains(c.flags, j.Word)) {
			t.Errorf("%q: %+v", c.flags, j)
		}
	}
	startedWith(t, r)
	if j := findJobserver(here.Here{}, fmt.Sprintf("--jobserver-auth=%d,%d", r, w)); j != nil {
		t.Errorf("a descriptor that was opened later: %+v", j)
	}
}

func TestAJobserverByNameIsAFIFOThatMakeHasOpen(t *testing.T) {
	dir := t.TempDir()
	fifo, plain := filepath.Join(dir, "fifo"), filepath.Join(dir, "plain")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	opened(t, plain, unix.O_CREAT|unix.O_RDWR)
	for _, name := range []string{plain, dir, filepath.Join(dir, "nosuch"), "", "/dev/null"} {
		if j := findJobserver(here.Here{}, "--jobserver-auth=fifo:"+name); j != nil {
			t.Errorf("%q: %+v", name, j)
		}
	}
	makes := opened(t, fifo, unix.O_RDWR)
	if _, err := unix.Write(makes, []byte("+")); err != nil {
		t.Fatal(err)
	}
	j := findJobserver(here.Here{}, "-j --jobserver-auth=fifo:"+fifo)
	if j == nil {
		t.Fatal("make's FIFO is not found")
	}
	defer unix.Close(j.Read)
	defer unix.Close(j.Write)
	if j.Word != "--jobserver-auth=fifo:"+fifo {
		t.Errorf("%q", j.Word)
	}
	var token [1]byte
	if n, err := unix.Read(j.Read, token[:]); n != 1 || token[0] != '+' || err != nil {
		t.Errorf("read %q, %v", token[:n], err)
	}
	if n, err := unix.Write(j.Write, token[:]); n != 1 || err != nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	for _, fd := range []int{j.Read, j.Write} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#o, %v: commands would not wait for a token", flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("it stays open over execve: %v", err)
		}
	}
}

func TestAFIFOThatNobodyHasOpenIsNotWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// Both ends are opened, so the second one finds the first.
	j := findJobserver(here.Here{}, "--jobserver-auth=fifo:"+fifo)
	if j == nil {
		t.Fatal("nothing is found")
	}
	unix.Close(j.Read)
	unix.Close(j.Write)
}

func TestDescriptorsThatTheProgramHasOpenedAreNotTheCallers(t *testing.T) {
	startedWith(t)
	before := given.Descriptors
	t.Cleanup(func() { given.Descriptors = before })
	given.Descriptors = []int{3, 4, 7, 9}
	if err := Find([]int{4, 9}); err != nil || !slices.Equal(inherited.fds, []int{3, 7}) {
		t.Errorf("%v, %v", inherited.fds, err)
	}
	if !slices.Equal(given.Descriptors, []int{3, 4, 7, 9}) {
		t.Errorf("what was given is %v now", given.Descriptors)
	}
}

func TestThereMustBeRoomForTheProgram(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lower := limit
	lower.Cur = min(limit.Cur, 1024)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lower); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	run := func(count int) (fds []int) {
		for i := range count {
			fds = append(fds, 3+i)
		}
		return fds
	}
	most := int(lower.Cur) - 3 - room // besides 0, 1 and 2
	for _, fds := range [][]int{nil, run(most)} {
		if err := checkRoom(fds); err != nil {
			t.Errorf("%d of %d: %v", len(fds), lower.Cur, err)
		}
	}
	if err := checkRoom(run(most + 1)); err == nil || !strings.Contains(err.Error(), "ulimit -Hn") {
		t.Errorf("%d of %d: %v", most+1, lower.Cur, err)
	}
	beyond := append(run(most), int(lower.Cur), int(lower.Cur)+1) // which take none of it
	if err := checkRoom(beyond); err != nil {
		t.Errorf("with some beyond the limit: %v", err)
	}
}

func TestKeptDescriptorsAreOpenUntilTheEnd(t *testing.T) {
	r, w := pipe(t)
	kept, err := unix.Dup(w)
	if err != nil {
		t.Fatal(err)
	}
	passed, err := unix.Dup(w)
	if err != nil {
		t.Fatal(err)
	}
	startedWith(t, kept, passed)
	if err := Keep(passed); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Kind(kept); err != unix.EBADF {
		t.Errorf("what a keeper has is open here: %v", err)
	}
	if _, err := file.Kind(passed); err != nil {
		t.Errorf("what is passed is not open here: %v", err)
	}
	ClosePassed()
	if _, err := file.Kind(passed); err != unix.EBADF {
		t.Errorf("what the command has got is open here: %v", err)
	}
	unix.Close(w)
	hungUp := func() bool {
		fds := []unix.PollFd{{Fd: int32(r)}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&unix.POLLHUP != 0
	}
	if hungUp() {
		t.Error("nobody keeps the pipe open")
	}
	Depart()
	if !hungUp() {
		t.Error("somebody keeps the pipe open after the end")
	}
}

func TestNothingIsKeptForWhoHasNothing(t *testing.T) {
	startedWith(t)
	if err := Keep(); err != nil || inherited.keeper != nil {
		t.Errorf("%v, %v", inherited.keeper, err)
	}
	Depart()
}
