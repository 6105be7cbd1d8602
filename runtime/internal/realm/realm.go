// Package realm tells where the program is root, and where what it keeps is: on the host, by a grant or as root itself,
// or in a user namespace of the caller's own.
//
// A program that is granted nothing has a new user namespace, where it is permitted everything
// and the kernel lets it do what the caller could do anyway. To the rest of the program the two look alike: images and records
// belong to root, who is another one in each realm.
package realm

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

// Variable is the environment variable by which the program tells itself, executed again, that it is to be in a user namespace, or
// is in one already: as root of it. It means nothing to a program with a grant, nor to anybody else but root, nor in the host's user namespace.
const Variable = "MAYFLY_REALM"

// What the variable says: see the program's entry point, and Again.
const (
	enter  = "enter"
	within = "in:"
)

var here struct {
	own       bool
	directory string
	root      uint32
	group     uint32
	ids       bool
	caller    struct{ uid, gid uint32 }
}

// Own tells that the program is in a user namespace of the caller's own.
func Own() bool { return here.own }

// Root is the user to whom belongs what the program keeps.
func Root() uint32 { return here.root }

// RootGroup is root's group.
func RootGroup() uint32 { return here.group }

// HasIDs tells that there are ids besides the caller's: always but in a user namespace that was made without.
func HasIDs() bool { return !here.own || here.ids }

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
func Stranger() (id uint32, ok bool) {
	switch {
	case !here.own:
		return strangers + uint32(os.Getpid()), true
	case here.ids:
		return nobody, true
	}
	return 0, false
}

// GiveToCaller makes a file the caller's, which root has made for them in a user namespace. On the host it stays root's.
func GiveToCaller(name string) error {
	if !here.own {
		return nil
	}
	return os.Lchown(name, int(here.caller.uid), int(here.caller.gid))
}

// Directory is the caller's, with all that the program keeps for them.
func Directory() string { return here.directory }

// Store is where the caller's own images are.
func Store() string { return filepath.Join(here.directory, "images") }

// State is where the records of running containers are.
func State() string {
	if here.own {
		return filepath.Join(here.directory, "run")
	}
	return "/run/mayfly"
}

// Enter has the program, executed again, make a user namespace: it is an entry of the environment.
func Enter() string { return Variable + "=" + enter }

// Again has the program, executed again, know where it is: it is an entry of the environment.
func Again() string {
	return fmt.Sprintf("%s=%s%d:%d:%s", Variable, within, here.caller.uid, here.caller.gid, here.directory)
}

// Arrive finds out where the program is: in a user namespace, if it was there before it was executed. It is called first of all. It
// believes the variable of nobody but root, who may do everything there anyway: a user namespace may also be that of a whole
// system, with a grant in it and users who set variables.
func Arrive() error {
	value, told := strings.CutPrefix(os.Getenv(Variable), within)
	if !told || os.Getuid() != 0 || OnHost() {
		return nil
	}
	f := strings.SplitN(value, ":", 3)
	if len(f) != 3 {
		return fmt.Errorf("%s=%s%s: want UID:GID:DIRECTORY", Variable, within, value)
	}
	uid, err := strconv.ParseUint(f[0], 10, 32)
	gid, errToo := strconv.ParseUint(f[1], 10, 32)
	if err != nil || errToo != nil {
		return fmt.Errorf("%s: %w", Variable, errors.Join(err, errToo))
	}
	return Settle(f[2], uint32(uid), uint32(gid))
}

// Settle says that the program is in a user namespace of the caller's own, which has its ids, and that what it keeps is in
// a directory of the caller's, who has these ids in the namespace.
func Settle(directory string, uid, gid uint32) error {
	here.own, here.directory = true, directory
	here.caller.uid, here.caller.gid = uid, gid
	return findRoot()
}

// initialUserNamespace is the inode number of the host's, in every kernel (PROC_USER_INIT_INO).
const initialUserNamespace = 0xEFFFFFFD

// OnHost tells whether the program is in the host's user namespace; if in doubt, it is.
func OnHost() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) != nil || st.Ino == initialUserNamespace
}

// maxMap bounds what is read of a map of ids, in bytes.
const maxMap = 1 << 16

// findRoot finds who is root here: 0 if the namespace has that, else the caller.
func findRoot() error {
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
	here.root, here.ids = uint32(root), lines > 1 || count > 1
	if root != 0 {
		here.group = uint32(os.Getgid())
		nsexec.SetRoot(os.Getuid(), os.Getgid())
	}
	return nil
}
