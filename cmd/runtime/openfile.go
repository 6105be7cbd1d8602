package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/inherit"
)

// openFile opens a file that a flag names. A name of a descriptor, such as a shell's
// process substitution gives, means that descriptor, if the program was started with it:
// the files of /proc/self belong to root while the program has privileges, and cannot
// be opened.
func openFile(name string, flags int, mode os.FileMode) (*os.File, error) {
	number := -1
	switch name {
	case "/dev/stdin":
		number = 0
	case "/dev/stdout":
		number = 1
	case "/dev/stderr":
		number = 2
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if text, is := strings.CutPrefix(name, dir); is {
			if n, err := strconv.ParseUint(text, 10, 31); err == nil {
				number = int(n)
			}
		}
	}
	if !inherit.Given(number) {
		return os.OpenFile(name, flags, mode)
	}
	fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
