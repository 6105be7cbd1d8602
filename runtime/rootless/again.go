package rootless

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/privilege"
)

// ExecuteAgain executes the program again, without any privilege, to be in a user namespace. It returns only with an error.
// limits gives the caller's soft limits back, as the program is to find them.
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
	if have.Permitted != 0 { // which the file would grant again
		if path, err = copyOfProgram(); err != nil {
			return err
		}
	}
	if err := inherit.HandOn(); err != nil {
		return err
	}
	limits()
	err = unix.Exec(path, os.Args, append(os.Environ(), here.Enter()))
	return fmt.Errorf("execute runtime again: %w", err)
}

// copyOfProgram makes a copy of the program, in memory, that grants nothing.
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
	if _, err := io.Copy(os.NewFile(uintptr(fd), "runtime"), program); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}
