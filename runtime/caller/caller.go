// Package caller describes who started the program, as package access found it, and has
// the errors of those who may not do something. It is data: it imports nothing of the
// project.
package caller

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
