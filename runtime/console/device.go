package console

import "golang.org/x/sys/unix"

// memoryMajor is the driver of /dev/null, /dev/zero, /dev/full, /dev/random and
// /dev/urandom, which are everybody's; memoryMinors are these.
const memoryMajor = 1

var memoryMinors = [...]uint32{3, 5, 7, 8, 9}

// IsDevice tells whether a descriptor is of a terminal, or of another character device
// that is not everybody's. The kernel is asked for the kind of the file, and not
// whether it answers as a terminal does: one that has been hung up does not, a virtual
// console's screen (vcs(4)) and the kernel's log (/dev/kmsg) never do. A descriptor
// that is not open is none.
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
