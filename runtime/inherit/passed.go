package inherit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/console"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// mostPassed bounds how many descriptors a caller can ask to pass.
const mostPassed = 256

// Pass finds the descriptors that a request passes: count of them from 3 on; the
// sockets that a service manager has opened for this process (sd_listen_fds(3)); make's
// jobserver. It is called before Keep, which is told plan.Passing.Descriptors.
func Pass(h here.Here, r *plan.Request, count int) error {
	if count < 0 || count > mostPassed {
		return fmt.Errorf("--preserve-fds %d: want a number from 0 to %d", count, mostPassed)
	}
	var err error
	if r.Passing.Asked, err = passable(h, count); err != nil {
		return fmt.Errorf("--preserve-fds %d: %w", count, err)
	}
	if r.Passing.Listening, err = listening(); err != nil {
		return err
	}
	if _, err := passable(h, r.Passing.Listening); err != nil {
		return fmt.Errorf("LISTEN_FDS: %w", err)
	}
	r.Passing.Jobserver = findJobserver(h, flagsOf(r))
	return nil
}

// passable returns count descriptors from 3 on. It is an error if one of them may not
// be passed.
func passable(h here.Here, count int) (fds []int, err error) {
	for fd := plan.FirstPassed; fd < plan.FirstPassed+count; fd++ {
		if !slices.Contains(inherited.fds, fd) {
			return nil, fmt.Errorf("descriptor %d is not open", fd)
		}
		if err := mayPass(h, fd); err != nil {
			return nil, fmt.Errorf("descriptor %d %w", fd, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// mayPass accepts descriptors that a command of another user may have as standard
// input, output and error, too: files, pipes and sockets.
func mayPass(h here.Here, fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	kind, err := file.Kind(fd)
	switch {
	case err != nil:
		return fmt.Errorf("cannot be looked at: %w", err)
	case flags&unix.O_PATH != 0:
		return errors.New("is a place in a file system (O_PATH), which leads out of the container")
	case kind == unix.S_IFDIR:
		return errors.New("is a directory, which leads out of the container: use --bind")
	case kind == unix.S_IFIFO, kind == unix.S_IFSOCK:
		return nil
	case kind == unix.S_IFCHR && !console.IsDevice(fd):
		return nil
	case kind != unix.S_IFREG:
		return errors.New("is neither a file, pipe nor socket")
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.NSFS_MAGIC:
		return errors.New("is a file of the kernel's that tells of processes outside")
	}
	if !answers(h, fd, uint32(fs.Type)) {
		return fmt.Errorf("is in a file system (type %#x) that may wait for somebody to let it be closed, as those of FUSE do: use --bind", uint32(fs.Type))
	}
	return nil
}

// answering are the types of file systems (statfs(2)) whose close no user's process can
// delay: the kernel's own, and those of servers that root has mounted. The supervisor
// closes the descriptors that it has passed, and must not wait for a server of the
// caller's (see nsexec.Keeper).
var answering = []uint32{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
	zfsMagic, bcachefsMagic, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.HUGETLBFS_MAGIC,
	unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.ISOFS_SUPER_MAGIC, unix.UDF_SUPER_MAGIC,
	unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, ntfs3Magic,
	unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC,
}

const (
	zfsMagic      = 0x2fc12fc1
	bcachefsMagic = 0xca451a4e
	ntfs3Magic    = 0x7366746e
)

// answers tells whether only the kernel or root's servers can delay the close of a
// file. An overlay passes it on to the file systems below, and does not tell which
// these are. Anybody can mount one in a user namespace, with FUSE below it; but one in
// the host's mount namespace, where a grant counts, was mounted by root.
func answers(h here.Here, fd int, kind uint32) bool {
	if kind != unix.OVERLAYFS_SUPER_MAGIC || h.Rootless() {
		return slices.Contains(answering, kind) || kind == unix.OVERLAYFS_SUPER_MAGIC
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return false
	}
	text, err := file.Read("/proc/self/mountinfo", mount.MaxInfo)
	if err != nil {
		return false
	}
	_, listed := mount.FindInfo(text, st.Mnt_id)
	return listed
}

// listening returns how many sockets a service manager has opened for this very
// process.
func listening() (int, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	text := os.Getenv("LISTEN_FDS")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > mostPassed {
		return 0, fmt.Errorf("LISTEN_FDS is %q: want a number from 0 to %d", text, mostPassed)
	}
	return n, nil
}
