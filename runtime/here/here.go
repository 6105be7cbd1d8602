// Package here says which ids act as root, and where state is kept: on the host, by a
// grant or as root itself, or rootless, in a user namespace of the caller's own.
//
// A program that is granted nothing has a new user namespace. There it is permitted
// everything, and the kernel lets it do what the caller could do anyway. To the rest of
// the program the two look alike: images and records belong to root, who is another one
// in each place. Package rootless finds out where the program is, and every room that
// needs to know is given a Here.
package here

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// Variable is the environment variable by which the program tells itself, executed
// again, that it is to be in a user namespace, or is in one already: as root of it. It
// means nothing to a program with a grant, nor to anybody else but root, nor in the
// host's user namespace.
const Variable = "MAYFLY_ROOTLESS"

// What the variable says: see the program's entry point, and Again.
const (
	enter  = "enter"
	within = "in:"
)

// A Here is where the program is. The zero Here is the host, where user 0 is root.
type Here struct {
	rootless  bool
	directory string // of the caller's, with all that the program keeps for them
	root      nsexec.Root
	ids       bool // there are ids besides the caller's
	caller    nsexec.Root
}

// Rootless tells that the program is in a user namespace of the caller's own.
func (h Here) Rootless() bool { return h.rootless }

// Root are the user and the group to whom belongs what the program keeps.
func (h Here) Root() nsexec.Root { return h.root }

// HasIDs tells that there are ids besides the caller's: always but in a user namespace
// that was made without.
func (h Here) HasIDs() bool { return !h.rootless || h.ids }

// strangers is the first of the ids for programs that read what may be hostile. Nobody
// has them: directory services give out ids up to 2,000,200,000 (SSSD's and FreeIPA's
// ranges), and from 2^31 on some programs take them for negative.
const strangers = 2_100_000_000

// nobody is a user of every system, of the ids in a user namespace too.
const nobody = 65534

// Stranger returns an id, of a user and of a group, that no process has but those that
// this one starts with it: processes of one user can look into each other, kill each
// other, and daemons run as nobody. Process ids, which the kernel keeps below 2^22,
// make it this process's own. In a user namespace of the caller's it is nobody's; it is
// not ok where there are no ids besides the caller's.
func (h Here) Stranger() (id uint32, ok bool) {
	switch {
	case !h.rootless:
		return strangers + uint32(os.Getpid()), true
	case h.ids:
		return nobody, true
	}
	return 0, false
}

// GiveToCaller makes a file the caller's, which root has made for them in a user
// namespace. On the host it stays root's.
func (h Here) GiveToCaller(name string) error {
	if !h.rootless {
		return nil
	}
	return os.Lchown(name, int(h.caller.UID), int(h.caller.GID))
}

// Directory is the caller's, with all that the program keeps for them.
func (h Here) Directory() string { return h.directory }

// Store is where the caller's own images are.
func (h Here) Store() string { return filepath.Join(h.directory, "images") }

// State is where the records of running containers are.
func (h Here) State() string {
	if h.rootless {
		return filepath.Join(h.directory, "run")
	}
	return "/run/mayfly"
}

// Enter has the program, executed again, make a user namespace: it is an entry of the
// environment.
func Enter() string { return Variable + "=" + enter }

// Again has the program, executed again, know where it is: it is an entry of the
// environment.
func (h Here) Again() string {
	return fmt.Sprintf("%s=%s%d:%d:%s", Variable, within, h.caller.UID, h.caller.GID, h.directory)
}

// Find finds out where the program is: in a user namespace, if it was there before it
// was executed. It is called first of all. It believes the variable of nobody but root,
// who may do everything there anyway: a user namespace may also be that of a whole
// system, with a grant in it and users who set variables.
func Find() (Here, error) {
	value, told := strings.CutPrefix(os.Getenv(Variable), within)
	if !told || os.Getuid() != 0 || OnHost() {
		return Here{}, nil
	}
	f := strings.SplitN(value, ":", 3)
	if len(f) != 3 {
		return Here{}, fmt.Errorf("%s=%s%s: want UID:GID:DIRECTORY", Variable, within, value)
	}
	uid, err := strconv.ParseUint(f[0], 10, 32)
	gid, errToo := strconv.ParseUint(f[1], 10, 32)
	if err != nil || errToo != nil {
		return Here{}, fmt.Errorf("%s: %w", Variable, errors.Join(err, errToo))
	}
	return In(f[2], uint32(uid), uint32(gid))
}

// In is a Here in a user namespace of the caller's own, which has its ids. What the
// program keeps is in a directory of the caller's, who has these ids in the namespace.
func In(directory string, uid, gid uint32) (Here, error) {
	h := Here{rootless: true, directory: directory, caller: nsexec.Root{UID: uid, GID: gid}}
	return h, h.findRoot()
}

// initialUserNamespace is the inode number of the host's, in every kernel
// (PROC_USER_INIT_INO).
const initialUserNamespace = 0xEFFFFFFD

// OnHost tells whether the program is in the host's user namespace; if in doubt, it is.
func OnHost() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) != nil || st.Ino == initialUserNamespace
}

// maxMap bounds what is read of a map of ids, in bytes.
const maxMap = 1 << 16

// findRoot finds who is root here: 0 if the namespace has that, else the caller.
func (h *Here) findRoot() error {
	text, err := file.Read("/proc/self/uid_map", maxMap)
	if err != nil {
		return err
	}
	var inside, outside, count uint64
	lines := 0
	root := uint64(os.Getuid())
	for line := range bytes.Lines(text) {
		if _, err := fmt.Sscan(string(line), &inside, &outside, &count); err != nil {
			return fmt.Errorf("/proc/self/uid_map: %w", err)
		}
		lines++
		if inside == 0 {
			root = 0
		}
	}
	h.root, h.ids = nsexec.Root{UID: uint32(root)}, lines > 1 || count > 1
	if root != 0 {
		h.root.GID = uint32(os.Getgid())
	}
	return nil
}
