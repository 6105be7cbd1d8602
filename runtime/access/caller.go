// Package access answers who calls and what the policy decides for them, and opens the
// store with root's rights on files.
//
// It is called by survey, supervisor, client, session, imageadmin, doctor and audit,
// and by package main for commands of the store, on any thread: it takes other rights
// in the brackets of package privilege only. It may import the policy, the user
// database and the store, and no package that launches anything.
package access

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/runtime/caller"
	"mayfly/runtime/console"
	"mayfly/runtime/here"
)

// CurrentCaller asks the kernel who calls: the real ids, which no set-user-ID bit
// changes, and the terminals. Only Env is from the environment.
func CurrentCaller() (caller.Caller, error) {
	groups, err := syscall.Getgroups()
	if err != nil {
		return caller.Caller{}, fmt.Errorf("getgroups: %w", err)
	}
	caller := caller.Caller{UID: uint32(syscall.Getuid()), GID: uint32(syscall.Getgid()), Env: CallerEnviron()}
	for _, g := range groups {
		caller.Groups = append(caller.Groups, uint32(g))
	}
	// os.Getwd would believe $PWD. The kernel writes "(unreachable)" before the name of
	// a directory outside of the root.
	caller.Dir, caller.DirErr = unixGetwd()
	caller.Terminal = term.IsTerminal(0) && term.IsTerminal(1)
	caller.TTY = OnTerminal()
	caller.Background = caller.Terminal && console.InBackground(0)
	return caller, nil
}

// OnTerminal tells whether one of standard input, output and error is a terminal, and
// the process has a controlling terminal.
func OnTerminal() bool {
	if !term.IsTerminal(0) && !term.IsTerminal(1) && !term.IsTerminal(2) {
		return false
	}
	fd, err := console.OpenOwn()
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// hiddenGO is what the program's entry point writes over GO at the beginning of a
// variable's name, so that the Go runtime takes no settings from the caller.
const hiddenGO = "\x01O"

// CallerEnviron returns the caller's environment: with the names that the entry point
// has changed, and without the variables by which the program tells itself something.
func CallerEnviron() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, here.Variable+"=") || strings.HasPrefix(entry, callerVariable+"=")
	})
	for i, entry := range env {
		if rest, ok := strings.CutPrefix(entry, hiddenGO); ok {
			env[i] = "GO" + rest
		}
	}
	return env
}

func unixGetwd() (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buffer)
	switch {
	case err == unix.ENOENT:
		return "", errors.New("it has been removed: cd to one that is there")
	case err == unix.ENAMETOOLONG, err == unix.ERANGE:
		return "", fmt.Errorf("its path is longer than %d bytes", unix.PathMax-1)
	case err != nil:
		return "", fmt.Errorf("getcwd: %w", err)
	case n < 2 || buffer[0] != '/':
		return "", errors.New("it is outside of your root directory")
	}
	return string(buffer[:n-1]), nil
}

// callerVariable is the environment variable by which imageadmin.ExecuteAsRoot tells
// the program, executed again as root, who has called it.
const callerVariable = "MAYFLY_CALLER"

// WhoCalls returns the caller's uid. For root it is the member of the image group who
// has become root, if any. Only root's variable is believed: root could write anything
// into the log.
func WhoCalls(c caller.Caller) uint32 {
	if c.UID != 0 {
		return c.UID
	}
	uid, err := strconv.ParseUint(os.Getenv(callerVariable), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(uid)
}

// TellRoot returns the entry of the environment that WhoCalls reads.
func TellRoot(c caller.Caller) string { return fmt.Sprintf("%s=%d", callerVariable, c.UID) }

// Lister returns the caller, who wants a list of their own, or of everybody's if
// everybody is set. Only root may list everybody's: the error wraps
// caller.ErrNotPermitted otherwise. what is what is listed.
func Lister(everybody bool, what string) (caller.Caller, error) {
	who, err := CurrentCaller()
	if err == nil && everybody && who.UID != 0 {
		err = fmt.Errorf("%s of all users: %w", what, caller.ErrNotPermitted)
	}
	return who, err
}
