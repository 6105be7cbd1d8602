package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/runtime/console"
	"mayfly/runtime/internal/realm"
)

// A Caller is who started the process, as the kernel tells it. The environment
// is the caller's word, kept for the container, and decides nothing.
type Caller struct {
	UID, GID uint32
	Groups   []uint32
	Dir      string // working directory, by the kernel's name; "" when it has none
	DirErr   error  // why it has none
	Env      []string
	Terminal bool // standard input and output are terminals
	// TTY: one of standard input, output and error is a terminal, and /dev/tty is.
	TTY bool
	// Background: they are those of another job, which has them until it ends.
	Background bool
}

// CurrentCaller asks the kernel who is calling: the real ids, which a set-user-ID
// bit does not change.
func CurrentCaller() (Caller, error) {
	groups, err := syscall.Getgroups()
	if err != nil {
		return Caller{}, fmt.Errorf("getgroups: %w", err)
	}
	caller := Caller{UID: uint32(syscall.Getuid()), GID: uint32(syscall.Getgid()), Env: callerEnviron()}
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

func callerEnviron() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, realm.Variable+"=") || strings.HasPrefix(entry, callerVariable+"=")
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
