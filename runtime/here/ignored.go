package here

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoNewPrivileges means that the kernel gives this process nothing by what it
// executes (prctl(2)).
var ErrNoNewPrivileges = errors.New("no_new_privs is set for this process, as by systemd's NoNewPrivileges= and what implies it, " +
	"and in many containers: no grant can have an effect")

// ErrNoSUID means that the kernel gives nothing by the files of a file system
// (mount(2)).
var ErrNoSUID = errors.New("is on a file system that is mounted nosuid: no grant can have an effect there, move it elsewhere")

// GrantIgnored says why a grant of the program's file has no effect in this process,
// whatever it is; nil: the kernel heeds it.
func GrantIgnored() error {
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set != 0 {
		return ErrNoNewPrivileges
	}
	const program = "/proc/self/exe"
	var fs unix.Statfs_t
	if err := unix.Statfs(program, &fs); err == nil && fs.Flags&unix.ST_NOSUID != 0 {
		name, _ := os.Readlink(program)
		return fmt.Errorf("%s %w", name, ErrNoSUID)
	}
	return nil
}
