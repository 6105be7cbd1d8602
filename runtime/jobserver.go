package runtime

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// makeFlags is the variable by which make tells those whom it calls of its jobserver: a
// pipe with a byte for each job that may be begun. See "Sharing Job Slots with GNU
// make" in its manual.
const makeFlags = "MAKEFLAGS"

// A jobserver is the one of a make that has called us.
type jobserver struct {
	word        string // of MAKEFLAGS, that names it
	read, write int
}

// inside is the word for the command. It names descriptors also where make has said a
// path (`fifo:`): a make before 4.4, which is what older images have, knows nothing
// else, and a path would have to be there.
func (j *jobserver) inside() string { return fmt.Sprintf("--jobserver-auth=%d,%d", j.read, j.write) }

// makeFlags returns what the command's MAKEFLAGS would be, should they pass.
func (r *Request) makeFlags() string {
	flags := os.Getenv(makeFlags)
	for _, entry := range r.Env {
		if own, ok := strings.CutPrefix(entry, makeFlags+"="); ok {
			flags = own
		}
	}
	return flags
}

// findJobserver finds the jobserver that MAKEFLAGS name, nil where there is none that
// can be used: make then goes on without, and says so.
func findJobserver(flags string) *jobserver {
	for _, word := range strings.Fields(flags) {
		auth, is := jobserverAuth(word)
		if !is {
			continue
		}
		if path, ok := strings.CutPrefix(auth, "fifo:"); ok {
			return openJobserver(word, path)
		}
		r, w, _ := strings.Cut(auth, ",")
		j := &jobserver{word: word}
		var errR, errW error
		j.read, errR = strconv.Atoi(r)
		j.write, errW = strconv.Atoi(w)
		if errR == nil && errW == nil && isPipe(j.read) && isPipe(j.write) {
			return j
		}
	}
	return nil
}

// jobserverAuth is what a word of MAKEFLAGS says of a jobserver, if it does.
func jobserverAuth(word string) (auth string, is bool) {
	name, auth, _ := strings.Cut(word, "=")
	return auth, name == "--jobserver-auth" || name == "--jobserver-fds" // before make 4.2
}

// isPipe tells whether the program was started with a descriptor, and it is one of a
// pipe.
func isPipe(fd int) bool {
	kind, err := kindOf(fd)
	return err == nil && kind == unix.S_IFIFO && slices.Contains(inherited.fds, fd) && mayPass(fd) == nil
}

// openJobserver opens the FIFO of a make from 4.4 on, with nothing but the caller's
// rights: as they are before a step is taken. It waits for nobody: make has both ends
// open.
func openJobserver(word, path string) *jobserver {
	open := func(flags int) int {
		fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return -1
		}
		if kind, err := kindOf(fd); err == nil && kind == unix.S_IFIFO {
			if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags); err == nil {
				return fd
			}
		}
		unix.Close(fd)
		return -1
	}
	r := open(unix.O_RDONLY)
	if r < 0 {
		return nil
	}
	w := open(unix.O_WRONLY)
	if w < 0 {
		unix.Close(r)
		return nil
	}
	return &jobserver{word: word, read: r, write: w}
}

// withoutJobserver takes out of MAKEFLAGS what names a jobserver's descriptors. After
// "--" come variables of the user's.
func withoutJobserver(flags string) string {
	var kept []string
	words := strings.Split(flags, " ") // and no others, so that all blanks stay
	for i, word := range words {
		if word == "--" {
			kept = append(kept, words[i:]...)
			break
		}
		if auth, is := jobserverAuth(word); !is || strings.HasPrefix(auth, "fifo:") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}
