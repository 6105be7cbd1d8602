package rootless

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/privilege"
)

// ExecuteAgain executes the program again without any privilege, so that the entry
// point makes a user namespace. It returns only with an error. limits restores the
// caller's soft limits before that.
func ExecuteAgain(limits func()) error {
	if os.Getenv(here.Variable) != "" {
		return errors.New("this program makes no user namespaces: it was not built with make")
	}
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	if err := privilege.Renounce(); err != nil {
		return err
	}
	path := "/proc/self/exe"
	if have.Permitted != 0 { // execve(2) of the file would grant them again
		if path, err = copyOfProgram(); err != nil {
			return err
		}
	}
	if err := inherit.HandOn(); err != nil {
		return err
	}
	goruntime.LockOSThread() // limits may change this thread
	limits()
	err = unix.Exec(path, os.Args, append(os.Environ(), here.Enter()))
	return fmt.Errorf("execute runtime again: %w", err)
}

// copyOfProgram copies the program into memory (memfd_create(2)), where the file has no
// capabilities. The descriptor stays open for execve(2), which closes it.
func copyOfProgram() (path string, err error) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer program.Close()
	fd, err := unix.MemfdCreate("runtime", unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("memfd_create: %w", err)
	}
	// The descriptor must outlive the os.File, which closes it when it is collected.
	file := os.NewFile(uintptr(fd), "runtime")
	defer file.Close()
	if _, err := io.Copy(file, program); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}
