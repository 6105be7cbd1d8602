package nsexec

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An IDMap makes Count ids of a user namespace, from Inside on, those from Outside on in the namespace of whoever
// makes it.
type IDMap struct{ Inside, Outside, Count uint32 }

// mapWithin is how long a process waits in a new user namespace for its ids: far longer than it takes.
const mapWithin = 10 * time.Second

// NewUserNamespace makes a user namespace and returns a descriptor of it, which the caller owns and which alone keeps
// it. No process lives in it. It belongs to root: no other user outside has power over what is in it, not even the
// one whose ids it maps.
//
// The thread needs the host's procfs at /proc, and CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID permitted; CAP_SETFCAP too where
// the id 0 of its own namespace is among those outside. ENOSPC says that the administrator allows no more of them
// (user.max_user_namespaces). See user_namespaces(7).
//
// What procfs has of a process that is not dumpable belongs to root of the namespace that it was executed in. Where that is not
// the thread's own, the process has to be dumpable meanwhile: so says within.
//
// keepGroups forbids setgroups(2) in the namespace for ever: who has no right to give
// up a group outside, since it may be one that files are closed to, has none inside
// (CVE-2014-8989).
func NewUserNamespace(uids, gids []IDMap, keepGroups, within bool) (fd int, err error) {
	line, err := newLine(mapWithin)
	if err != nil {
		return -1, err
	}
	defer line.close()
	e, err := newErrand(5)
	if err != nil {
		return -1, err
	}
	if within {
		e.dumpable()
		defer func() { err = firstError(err, Undumpable()) }()
	}
	e.must("unshare", unix.SYS_UNSHARE, number(unix.CLONE_NEWUSER))
	opened := e.open("/proc/self/ns/user", unix.O_RDONLY)
	// A process that has ended has no ids to be mapped any more.
	byteAt, one := address(unsafe.Pointer(&oneByte)), number(1)
	e.must("say that it is there", unix.SYS_WRITE, number(line.child), byteAt, one)
	e.must("wait for its ids", unix.SYS_READ, number(line.child), byteAt, one)
	pid, err := e.start(line.args())
	if err != nil {
		return -1, err
	}
	there, err := line.ready()
	if there {
		err = writeMaps(pid, uids, gids, keepGroups, within)
	}
	line.hangUp()
	_, waited := wait(pid)
	if err = firstError(err, e.failure(), waited); err != nil && opened.err() == nil && opened.result != 0 {
		unix.Close(int(opened.result))
	}
	if err != nil {
		return -1, err
	}
	return int(opened.result), nil
}

// writeMaps maps the ids of the user namespace of a process. What is to become of
// setgroups(2) is said before the groups are mapped: the kernel takes it no later.
func writeMaps(pid int, uids, gids []IDMap, keepGroups, within bool) error {
	files := []procFile{{"uid_map", lines(uids)}, {"gid_map", lines(gids)}}
	if keepGroups {
		files = append([]procFile{{"setgroups", []byte("deny")}}, files...)
	}
	e, err := newErrand(1 + 2*len(files))
	if err != nil {
		return err
	}
	if within {
		e.dumpable()
	}
	for _, f := range files {
		file := e.open(fmt.Sprintf("/proc/%d/%s", pid, f.name), unix.O_WRONLY)
		e.must("write "+f.name, unix.SYS_WRITE, &file.result, address(unsafe.Pointer(&f.text[0])), number(len(f.text)))
		e.kept = append(e.kept, f.text)
		defer func() {
			if file.err() == nil {
				unix.Close(int(file.result))
			}
		}()
	}
	return e.run()
}

// A procFile is one of a process's in procfs, and what is written to it in one call.
type procFile struct {
	name string
	text []byte
}

func lines(maps []IDMap) []byte {
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintln(&b, m.Inside, m.Outside, m.Count)
	}
	return []byte(b.String())
}

// A UserNamespace is one that a command enters, to be its root.
type UserNamespace struct {
	FD   int    // see NewUserNamespace
	Keep uint64 // the capabilities that the command has there; bit N is capability N
}

// enter adds the steps of becoming root of a user namespace. Whoever enters one has all capabilities in it, and a
// full bounding set. That set is emptied down to what the command may keep; the rest it loses by execve(2) alone: until
// then who has been executed before it cannot look into it, having less.
func (b *birth) enter(n *UserNamespace, must func(nr uintptr, args ...*uintptr) *systemCall) {
	b.own.Effective = b.own.Permitted
	b.caps = b.own.data()
	must(unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&b.caps)))
	must(unix.SYS_SETRESUID, &root.uid, &root.uid, &root.uid) // who the namespace belongs to
	must(unix.SYS_SETNS, number(n.FD), number(unix.CLONE_NEWUSER))
	must(unix.SYS_SETRESGID, &zero, &zero, &zero)
	must(unix.SYS_SETRESUID, &zero, &zero, &zero)
	for c := range lastCapability() + 1 {
		if n.Keep&(1<<c) == 0 {
			must(unix.SYS_PRCTL, number(unix.PR_CAPBSET_DROP), number(c))
		}
	}
}

// lastCapability is the highest that this kernel knows.
func lastCapability() int {
	c := unix.CAP_LAST_CAP
	for raw(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, uintptr(c+1), 0) == nil {
		c++
	}
	for c > 0 && raw(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, uintptr(c), 0) != nil {
		c--
	}
	return c
}

// asOwner sends a signal by an errand, to a command that is root of a user namespace: the caller may not do it
// themself.
func asOwner(nr uintptr, args ...int) error {
	e, err := newErrand(1)
	if err != nil {
		return err
	}
	values := make([]*uintptr, len(args))
	for i, a := range args {
		values[i] = number(a)
	}
	e.must("kill", nr, values...)
	return e.run()
}
