package mount

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Root resolves paths inside a directory tree whose author is not trusted:
// absolute symbolic links and ".." chains end inside it, magic links are
// refused. See openat2(2), RESOLVE_IN_ROOT, since Linux 5.6.
type Root struct{ fd int }

// RootAt makes a Root of an open directory. The caller keeps the descriptor and
// must not close it while the Root is in use.
func RootAt(fd int) Root { return Root{fd} }

// FD returns the descriptor of the root directory, owned by whoever opened it.
func (r Root) FD() int { return r.fd }

// Open opens a file inside the root with flags of open(2); O_CLOEXEC is always
// set. The caller owns the descriptor.
//
// The kernel answers EAGAIN when a rename anywhere in the system raced with the
// resolution of a "..": it cannot tell whether the result is still inside. The
// number of tries is bounded, so that nobody can hold us here by renaming.
func (r Root) Open(name string, flags int) (int, error) {
	return resolve(r.fd, name, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

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

// ErrNotRegular means that a file is a directory, device, FIFO or socket.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a regular file inside the root for reading. Anything else is not
// opened at all: to open a device can have effects, to open a FIFO can wait. The caller
// owns the descriptor.
func (r Root) OpenRegular(name string) (int, error) { return r.openRegular(name, unix.O_RDONLY) }

// openRegular looks at the file and then opens the file that it has looked at: by
// /proc/self/fd, not by its name, where somebody may have put a device meanwhile.
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

// Append appends text to a regular file inside the root. Somebody who changes the tree
// meanwhile can choose which of its regular files that is.
func (r Root) Append(name, text string) error {
	fd, err := r.openRegular(name, unix.O_WRONLY|unix.O_APPEND)
	if err != nil {
		return err
	}
	return writeAndClose(fd, text)
}

// writeAndClose writes a small text to a file. A part of it is all that a full disk
// takes.
func writeAndClose(fd int, text string) error {
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	return errors.Join(err, closeFD(fd))
}

// A Target is a place to mount on, held by an O_PATH descriptor that its
// receiver owns.
type Target struct {
	fd   int
	path string // for messages
}

// Close closes the descriptor.
func (t Target) Close() error { return closeFD(t.fd) }

// FD returns the descriptor, still owned by the Target.
func (t Target) FD() int { return t.fd }

// A Place describes what a descriptor stands for: a Target, or the root of a Tree.
type Place struct {
	MountID     uint64 // of the mount it lies on: mountinfo's first column
	IsMountRoot bool   // it is the root of that mount
	IsDir       bool
	IsRegular   bool
}

// Place describes the target (statx STATX_MNT_ID, since Linux 5.8).
func (t Target) Place() (Place, error) { return place(t.fd) }

// Place describes the root of the Tree.
func (t Tree) Place() (Place, error) { return place(t.fd) }

func place(fd int) (Place, error) {
	var st unix.Statx_t
	if err := statx(fd, unix.STATX_MNT_ID|unix.STATX_TYPE, &st); err != nil {
		return Place{}, fmt.Errorf("statx: %w", err)
	}
	return Place{
		MountID:     st.Mnt_id,
		IsMountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
		IsDir:       st.Mode&unix.S_IFMT == unix.S_IFDIR,
		IsRegular:   st.Mode&unix.S_IFMT == unix.S_IFREG,
	}, nil
}

// FSType returns the magic number of the file system that the target lies on.
func (t Target) FSType() (int64, error) {
	var st unix.Statfs_t
	if err := fstatfs(t.fd, &st); err != nil {
		return 0, fmt.Errorf("fstatfs: %w", err)
	}
	return int64(st.Type), nil
}

// Dir resolves a directory to mount on, following symbolic links inside the root.
func (r Root) Dir(name string) (Target, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Target{}, err
	}
	return Target{fd, name}, nil
}

// Name resolves the directory part of name and takes the last component as it
// is: a symbolic link there is itself the target. So a file can be mounted over
// /etc/resolv.conf or /etc/localtime without touching what those links point to.
func (r Root) Name(name string) (Target, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return Target{}, err
	}
	return Target{fd, name}, nil
}
