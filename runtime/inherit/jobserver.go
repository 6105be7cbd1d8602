package inherit

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// flagsOf returns the command's MAKEFLAGS, if they pass.
func flagsOf(r *plan.Request) string {
	flags := os.Getenv(plan.MakeFlags)
	for _, entry := range r.Env {
		if own, ok := strings.CutPrefix(entry, plan.MakeFlags+"="); ok {
			flags = own
		}
	}
	return flags
}

// findJobserver finds the jobserver that MAKEFLAGS name. It returns nil if there is
// none that can be used; make then goes on without one, and says so.
func findJobserver(h here.Here, flags string) *plan.Jobserver {
	for _, word := range strings.Fields(flags) {
		auth, is := plan.JobserverAuth(word)
		if !is {
			continue
		}
		if path, ok := strings.CutPrefix(auth, "fifo:"); ok {
			return openJobserver(word, path)
		}
		r, w, _ := strings.Cut(auth, ",")
		j := &plan.Jobserver{Word: word}
		var errR, errW error
		j.Read, errR = strconv.Atoi(r)
		j.Write, errW = strconv.Atoi(w)
		if errR == nil && errW == nil && isPipe(h, j.Read) && isPipe(h, j.Write) {
			return j
		}
	}
	return nil
}

// isPipe tells whether the program was started with a descriptor that is a pipe and may
// be passed.
func isPipe(h here.Here, fd int) bool {
	kind, err := file.Kind(fd)
	return err == nil && kind == unix.S_IFIFO && slices.Contains(inherited.fds, fd) && mayPass(h, fd) == nil
}

// openJobserver opens the FIFO of make from 4.4 on, with the caller's own rights: the
// process has no others yet. It does not wait, since make has both ends open. The
// descriptors stay open for the command.
func openJobserver(word, path string) *plan.Jobserver {
	open := func(flags int) int {
		fd, err := file.OpenNamed(path, uint64(flags|unix.O_NONBLOCK|unix.O_NOCTTY))
		if err != nil {
			return -1
		}
		if kind, err := file.Kind(fd); err == nil && kind == unix.S_IFIFO {
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
	return &plan.Jobserver{Word: word, Read: r, Write: w}
}
