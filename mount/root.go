package mount

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Root resolves paths in a directory tree whose author is not trusted. Absolute
// symbolic links begin at its root, ".." does not lead out of it, and magic links, such
// as those of /proc/PID, are refused. See openat2(2), RESOLVE_IN_ROOT; Linux 5.6.
type Root struct{ fd int }

// RootAt makes a Root of an open directory. The caller owns the descriptor, and must
// not close it while the Root is in use.
func RootAt(fd int) Root { return Root{fd} }

// FD returns the descriptor of RootAt, whose caller owns it.
func (r Root) FD() int { return r.fd }

// Open opens a file in the root, with flags of open(2) and O_CLOEXEC. The caller owns
// the descriptor. The kernel decides by the thread's ids for files and its
// capabilities.
//
// EAGAIN: again and again a rename anywhere in the system came while a ".." was
// resolved, so that the kernel cannot tell whether the result is in the root. The
// number of tries is bounded, so that no process can hold the thread here by renaming.
func (r Root) Open(name string, flags int) (int, error) {
	return resolve(r.fd, name, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// resolve opens a file below an open directory by rules of openat2(2), RESOLVE_*.
func resolve(dir int, name string, flags int, rules uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: rules}
	for try := 0; ; try++ {
		fd, err := openat2(dir, name, &how)
		if err == nil {
			return fd, nil
		}
		if (err != unix.EAGAIN && err != unix.EINTR) || try == 128 {
			return -1, err
		}
	}
}

// ErrNotRegular means that a file is a directory, a device, a FIFO or a socket.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a regular file in the root for reading. The caller owns the
// descriptor. A file of another kind is not opened, but gives ErrNotRegular: to open a
// device may have effects, and to open a FIFO may wait. The procfs of the thread's PID
// namespace must be at /proc.
func (r Root) OpenRegular(name string) (int, error) { return r.openRegular(name, unix.O_RDONLY) }

// openRegular opens the file by its name as a place (O_PATH), looks at its kind, and
// opens that very file by /proc/self/fd. At the name another process may have put a
// device meanwhile.
func (r Root) openRegular(name string, flags int) (int, error) {
	look, err := r.Open(name, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer closeFD(look)
	what, err := place(look)
	if err != nil {
		return -1, err
	}
	if !what.IsRegular {
		return -1, ErrNotRegular
	}
	return openat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(look), flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// Append appends text to a regular file in the root, or gives ErrNotRegular. A process
// that changes the tree meanwhile can choose the regular file of the root, and no file
// outside. The procfs of the thread's PID namespace must be at /proc.
func (r Root) Append(name, text string) error {
	fd, err := r.openRegular(name, unix.O_WRONLY|unix.O_APPEND)
	if err != nil {
		return err
	}
	return writeAndClose(fd, text)
}

// writeAndClose writes a small text to a file and closes it. The kernel writes a part
// of it only where the disk is full.
func writeAndClose(fd int, text string) error {
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	return errors.Join(err, closeFD(fd))
}

// A Target is a file or directory to mount on, held by an O_PATH descriptor. The
// receiver of a Target owns the descriptor and must Close it.
type Target struct {
	fd   int
	path string // for errors
}

// Close closes the descriptor.
func (t Target) Close() error { return closeFD(t.fd) }

// FD returns the descriptor, which the Target still owns.
func (t Target) FD() int { return t.fd }

// A Place describes an open file: a Target, or the root of a Tree.
type Place struct {
	MountID     uint64 // of the mount that it is on, as in the first field of mountinfo
	IsMountRoot bool   // it is the root of that mount
	IsDir       bool
	IsRegular   bool
}

// Place describes the target. It needs no capability, and Linux 5.8 (STATX_MNT_ID).
func (t Target) Place() (Place, error) { return place(t.fd) }

// Place describes the root of the Tree, as Target.Place does.
func (t Tree) Place() (Place, error) { return place(t.fd) }

func place(fd int) (Place, error) { return PlaceOf(fd, "") }

// PlaceOf describes what has a name in the open directory dir, or what dir stands for
// where name is empty. The calling thread resolves the name, as for AttachIn.
func PlaceOf(dir int, name string) (Place, error) {
	var st unix.Statx_t
	if err := statx(dir, name, unix.STATX_MNT_ID|unix.STATX_TYPE, &st); err != nil {
		return Place{}, fmt.Errorf("statx %s: %w", name, err)
	}
	return Place{
		MountID:     st.Mnt_id,
		IsMountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
		IsDir:       st.Mode&unix.S_IFMT == unix.S_IFDIR,
		IsRegular:   st.Mode&unix.S_IFMT == unix.S_IFREG,
	}, nil
}

// FSType returns the type of the file system that the target is on, as a magic number
// of statfs(2).
func (t Target) FSType() (int64, error) {
	var st unix.Statfs_t
	if err := fstatfs(t.fd, &st); err != nil {
		return 0, fmt.Errorf("fstatfs: %w", err)
	}
	return int64(st.Type), nil
}

// Dir opens a directory of the root to mount on, and follows symbolic links in the
// root. The caller owns the Target.
func (r Root) Dir(name string) (Target, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Target{}, err
	}
	return Target{fd, name}, nil
}

// Name opens what has a name in the root, to mount on, and does not follow a symbolic
// link that is the last component: the link is itself the target. So a file can be
// mounted over /etc/resolv.conf, and not over what that leads to. The caller owns the
// Target.
func (r Root) Name(name string) (Target, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return Target{}, err
	}
	return Target{fd, name}, nil
}
