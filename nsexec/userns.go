package nsexec

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An IDMap maps Count ids of a user namespace, from Inside on, to the ids from Outside
// on of the namespace of the process that writes the map. See user_namespaces(7).
type IDMap struct{ Inside, Outside, Count uint32 }

// mapWithin is how long the process in a new user namespace waits for its maps: far
// longer than it takes to write them.
const mapWithin = 10 * time.Second

// NewUserNamespace makes a user namespace in which no process lives, with these maps,
// and returns a descriptor of it, which the caller owns and which alone keeps the
// namespace. The namespace belongs to root: the kernel gives the owner of a user
// namespace every capability in it, and no other user gets that here, not even the one
// whose ids are mapped.
//
// A root child (see rootChild) unshares the namespace and waits; a second one writes
// the maps into /proc/PID of the first.
//
//   - keepGroups forbids setgroups(2) in the namespace for ever: a caller who has no
//     right to give up a group outside, since files may be closed to that group, has
//     none inside (CVE-2014-8989).
//   - within: the thread is itself in a user namespace that was made after the program
//     was executed. The files in /proc/PID of a process that is not dumpable belong to
//     the root of the namespace in which it was executed, and that root is not mapped
//     here. So the process is dumpable while the namespace is made, and is not any more
//     when NewUserNamespace returns.
//
// The thread need not be locked. It needs the procfs of its PID namespace at /proc, and
// permitted: CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, and CAP_SETFCAP where the id 0 of
// its own namespace is among those outside (since Linux 5.12).
//
// Errors name the step that failed. ENOSPC: user.max_user_namespaces allows no more.
func NewUserNamespace(root Root, uids, gids []IDMap, keepGroups, within bool) (fd int, err error) {
	line, err := newLine(mapWithin)
	if err != nil {
		return -1, err
	}
	defer line.close()
	child, err := newRootChild(root, 5)
	if err != nil {
		return -1, err
	}
	if within {
		child.dumpable()
		defer func() { err = firstError(err, Undumpable()) }()
	}
	child.must("unshare", unix.SYS_UNSHARE, number(unix.CLONE_NEWUSER))
	opened := child.open("/proc/self/ns/user", unix.O_RDONLY)
	// The child stays until its maps are written: /proc/PID goes with it.
	byteAt, one := address(unsafe.Pointer(&oneByte)), number(1)
	child.must("say that it is there", unix.SYS_WRITE, number(line.child), byteAt, one)
	child.must("wait for its ids", unix.SYS_READ, number(line.child), byteAt, one)
	pid, err := child.start(line.args())
	if err != nil {
		return -1, err
	}
	there, err := line.ready()
	if there {
		err = writeMaps(root, pid, uids, gids, keepGroups, within)
	}
	line.hangUp()
	_, waited := wait(pid)
	if err := firstError(err, child.failure(), waited); err != nil {
		opened.close()
		return -1, err
	}
	return int(opened.result), nil
}

// writeMaps writes the maps of the user namespace that a process is in, by a root
// child.
func writeMaps(root Root, pid int, uids, gids []IDMap, keepGroups, within bool) error {
	files := mapFiles(uids, gids, keepGroups)
	child, err := newRootChild(root, 1+2*len(files))
	if err != nil {
		return err
	}
	if within {
		child.dumpable()
	}
	for _, f := range files {
		file := child.open(fmt.Sprintf("/proc/%d/%s", pid, f.name), unix.O_WRONLY)
		child.must("write "+f.name, unix.SYS_WRITE, &file.result, address(unsafe.Pointer(&f.text[0])), number(len(f.text)))
		child.kept = append(child.kept, f.text)
		defer file.close()
	}
	return child.run()
}

// A procFile is a file in /proc/PID, and what is written to it in one call.
type procFile struct {
	name string
	text []byte
}

// mapFiles are the files that give a user namespace its ids, in the order in which they
// are written: the kernel lets setgroups(2) be forbidden only before gid_map is
// written.
func mapFiles(uids, gids []IDMap, keepGroups bool) []procFile {
	files := []procFile{{"uid_map", lines(uids)}, {"gid_map", lines(gids)}}
	if keepGroups {
		files = append([]procFile{{"setgroups", []byte("deny")}}, files...)
	}
	return files
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
	FD    int    // of NewUserNamespace; the caller owns it
	Owner Root   // root outside, whose namespace it is
	Keep  uint64 // the command's bounding set inside; bit N is capability N
}

// enter adds the steps by which a command becomes root of a user namespace.
//
// The command first becomes the namespace's owner, root outside: the kernel lets nobody
// else enter. By entering it gets every capability inside and a full bounding set. The
// steps reduce the bounding set to n.Keep. The permitted set is reduced by execve(2)
// alone: until then a process that is inside already has fewer capabilities than this
// one, and so may not look into its memory, which is the launcher's (ptrace(2)).
func (b *commandProgram) enter(n *UserNamespace, must func(nr uintptr, args ...*uintptr) *systemCall) {
	b.own.Effective = b.own.Permitted
	b.caps = b.own.data()
	must(unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&b.caps)))
	owner := number(int(n.Owner.UID))
	must(unix.SYS_SETRESUID, owner, owner, owner)
	must(unix.SYS_SETNS, number(n.FD), number(unix.CLONE_NEWUSER))
	must(unix.SYS_SETRESGID, &zero, &zero, &zero)
	must(unix.SYS_SETRESUID, &zero, &zero, &zero)
	for c := range lastCapability() + 1 {
		if n.Keep&(1<<c) == 0 {
			must(unix.SYS_PRCTL, number(unix.PR_CAPBSET_DROP), number(c))
		}
	}
}

// lastCapability is the highest capability that this kernel knows.
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

// killByRoot sends a signal by a root child, to a command that is root of a user
// namespace: the thread, with the caller's ids, may not. nr is kill(2) or
// pidfd_send_signal(2).
func killByRoot(root Root, nr uintptr, args ...int) error {
	child, err := newRootChild(root, 1)
	if err != nil {
		return err
	}
	values := make([]*uintptr, len(args))
	for i, a := range args {
		values[i] = number(a)
	}
	child.must("kill", nr, values...)
	return child.run()
}
