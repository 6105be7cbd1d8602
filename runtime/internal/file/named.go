package file

import "golang.org/x/sys/unix"

// OpenNamed opens a file whose path somebody else has chosen, and follows symbolic links
// but no magic links of procfs (since Linux 5.6): by /proc/self/fd and the like the path
// would lead to what this process has open, which may be closed to its caller. The error
// is ELOOP for a path with such a link.
func OpenNamed(path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	return unix.Openat2(unix.AT_FDCWD, path, &how)
}
