package status

import (
	"os"
	"syscall"
)

// Terminates tells whether a signal asks a program to end.
func Terminates(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}
