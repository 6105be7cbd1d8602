package console

import "golang.org/x/sys/unix"

// memoryMajor is the major number of /dev/null, /dev/zero, /dev/full, /dev/random and
// /dev/urandom, which every user may open. memoryMinors are their minor numbers.
const memoryMajor = 1

var memoryMinors = [...]uint32{3, 5, 7, 8, 9}

// IsDevice tells whether a descriptor is of a terminal, or of another character device
// that not every user may open. It looks at the type of the file and not whether the
// file answers as a terminal does: a terminal that has been hung up does not, and the
// screen of a virtual console (vcs(4)) and the kernel's log (/dev/kmsg) never do. For a
// descriptor that is not open the answer is false.
func IsDevice(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	if unix.Major(st.Rdev) != memoryMajor {
		return true
	}
	for _, minor := range memoryMinors {
		if unix.Minor(st.Rdev) == minor {
			return false
		}
	}
	return true
}
