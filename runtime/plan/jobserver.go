package plan

import (
	"fmt"
	"strings"
)

// MakeFlags is the variable by which make tells the programs that it starts about its
// jobserver: a pipe with a byte for each job that may be begun. See "Sharing Job Slots
// with GNU make" in make's manual.
const MakeFlags = "MAKEFLAGS"

// A Jobserver is that of the make that has started this program.
type Jobserver struct {
	Word        string // the word of MAKEFLAGS that names it
	Read, Write int
}

// inside returns the word for the command's MAKEFLAGS. It names descriptors even if the
// caller's names a FIFO (`fifo:PATH`): make before 4.4, as older images have it, does
// not know FIFOs, and the path need not exist inside.
func (j *Jobserver) inside() string { return fmt.Sprintf("--jobserver-auth=%d,%d", j.Read, j.Write) }

// JobserverAuth returns the value of a word of MAKEFLAGS that names a jobserver.
func JobserverAuth(word string) (auth string, is bool) {
	name, auth, _ := strings.Cut(word, "=")
	// make before 4.2 has --jobserver-fds.
	return auth, name == "--jobserver-auth" || name == "--jobserver-fds"
}

// withoutJobserver removes the words of MAKEFLAGS that name a jobserver's descriptors.
// The words after "--" are variables of the user's, and stay.
func withoutJobserver(flags string) string {
	var kept []string
	words := strings.Split(flags, " ") // a single space, so that all blanks stay
	for i, word := range words {
		if word == "--" {
			kept = append(kept, words[i:]...)
			break
		}
		if auth, is := JobserverAuth(word); !is || strings.HasPrefix(auth, "fifo:") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}
