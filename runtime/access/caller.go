// Package access answers who calls, what the policy says for them, and opens the store with root's
// rights on files.
//
// It is called by survey, supervisor, client, session, imageadmin, doctor and audit, and by package main
// for subcommands of the store, on any thread: what it does with other rights it does in the brackets
// of package privilege. It may import the policy, the user database and the store; no room that
// launches anything.
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

// CurrentCaller asks the kernel who is calling: the real ids, which a set-user-ID
// bit does not change.
func CurrentCaller() (caller.Caller, error) {
	groups, err := syscall.Getgroups()
	if err != nil {
		return caller.Caller{}, fmt.Errorf("getgroups: %w", err)
	}
	caller := caller.Caller{UID: uint32(syscall.Getuid()), GID: uint32(syscall.Getgid()), Env: CallerEnviron()}
	for _, g := range groups {
		caller.Groups = append(caller.Groups, uint32(g))
	}
	// Not os.Getwd, which believes $PWD. The kernel writes "(unreachable)" before
	// the name of a directory that is outside the root.
	caller.Dir, caller.DirErr = unixGetwd()
	caller.Terminal = term.IsTerminal(0) && term.IsTerminal(1)
	caller.TTY = OnTerminal()
	caller.Background = caller.Terminal && console.InBackground(0)
	return caller, nil
}

// OnTerminal tells whether one of standard input, output and error is a terminal, and
// the process has a controlling one.
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

// hiddenGO is what the command's entry point makes of GO at the beginning of a name, so that
// the caller's environment does not set up the Go runtime.
const hiddenGO = "\x01O"

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

// callerVariable is the environment variable by which ExecuteAsRoot tells the program,
// executed again as root, who has called it.
const callerVariable = "MAYFLY_CALLER"

// WhoCalls is the caller, or of root the member of the image group who has become root.
// The variable is believed of root alone, who could write anything into the log.
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

func TellRoot(c caller.Caller) string { return fmt.Sprintf("%s=%d", callerVariable, c.UID) }
