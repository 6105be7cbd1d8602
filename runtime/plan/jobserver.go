package plan

import (
	"fmt"
	"strings"
)

// MakeFlags is the variable by which make tells those whom it calls of its jobserver: a
// pipe with a byte for each job that may be begun. See "Sharing Job Slots with GNU
// make" in its manual.
const MakeFlags = "MAKEFLAGS"

// A Jobserver is the one of a make that has called us.
type Jobserver struct {
	Word        string // of MAKEFLAGS, that names it
	Read, Write int
}

// inside is the word for the command. It names descriptors also where make has said a
// path (`fifo:`): a make before 4.4, which is what older images have, knows nothing
// else, and a path would have to be there.
func (j *Jobserver) inside() string { return fmt.Sprintf("--jobserver-auth=%d,%d", j.Read, j.Write) }

// JobserverAuth is what a word of MAKEFLAGS says of a jobserver, if it does.
func JobserverAuth(word string) (auth string, is bool) {
	name, auth, _ := strings.Cut(word, "=")
	return auth, name == "--jobserver-auth" || name == "--jobserver-fds" // before make 4.2
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
		if auth, is := JobserverAuth(word); !is || strings.HasPrefix(auth, "fifo:") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}
