package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// fileSystems are the supported file systems: their magic numbers, and the mount
// options that prevent a replay of the journal, which would be a write. errors=continue
// overrides ext4's setting that lets errors in the file system panic the kernel.
var fileSystems = []struct {
	name, magic string
	at          int64
	options     []string
}{
	{"ext4", "\x53\xef", 0x438, []string{"noload", "errors=continue"}}, // ext2 and ext3, too
	{"xfs", "XFSB", 0, []string{"norecovery"}},
	{"btrfs", "_BHRfS_M", 0x10040, []string{"rescue=nologreplay"}},
	{"erofs", "\xe2\xe1\xf5\xe0", 0x400, nil},
	{"squashfs", "hsqs", 0, nil},
}

// foreign are other formats with a magic number, and advice for them.
var foreign = []struct {
	magic  string
	at     int64
	advice string
}{
	{"QFI\xfb", 0, "a qcow2 image: `qemu-img convert -O raw FILE NEW.raw`, and import that"},
	{"KDMV", 0, "a VMDK image: `qemu-img convert -O raw FILE NEW.raw`, and import that"},
	{"vhdxfile", 0, "a VHDX image: `qemu-img convert -O raw FILE NEW.raw`, and import that"},
	{"\x7f\x10\xda\xbe", 0x40, "a VDI image: `qemu-img convert -O raw FILE NEW.raw`, and import that"},
	{"LUKS\xba\xbe", 0, "encrypted: `cryptsetup open` it, mount that, and import the directory"},
}

func has(file io.ReaderAt, magic string, at int64) bool {
	found := make([]byte, len(magic))
	_, err := file.ReadAt(found, at)
	return err == nil && string(found) == magic
}

// fileSystem finds which of fileSystems a file or partition holds.
func fileSystem(file io.ReaderAt) (int, error) {
	for i, f := range fileSystems {
		if has(file, f.magic, f.at) {
			return i, nil
		}
	}
	for _, f := range foreign {
		if has(file, f.magic, f.at) {
			return 0, errors.New("it is " + f.advice)
		}
	}
	return 0, errors.New("it holds no " + Known())
}

// Known lists the supported file systems, for people.
func Known() string {
	var names []string
	for _, f := range fileSystems {
		names = append(names, f.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// Named returns whether a file's name is that of a disk image. Files with other names
// are never mounted: the kernel's file systems trust what they read.
func Named(name string) bool {
	return strings.HasSuffix(name, ".raw") || strings.HasSuffix(name, ".img")
}

// Is returns whether a file starts like a disk with partitions, or like a file system.
// Squashfs does not count: it can be read as an archive, without the kernel.
func Is(file io.ReaderAt) bool {
	if _, err := partitions(file); !errors.Is(err, errNoTable) {
		return true
	}
	i, err := fileSystem(file)
	return err == nil && fileSystems[i].name != "squashfs"
}

// Advice returns advice on a file that is not an archive; "" if its format is unknown.
func Advice(beginning io.ReaderAt) string {
	if Is(beginning) {
		return "a disk image: in a file that is named .raw the kernel mounts it, if you trust where it comes from"
	}
	for _, f := range foreign {
		if has(beginning, f.magic, f.at) {
			return f.advice
		}
	}
	return ""
}

// Mount makes a detached mount of a partition in an open file: read-only, nodev, nosuid
// and noexec. It is unmounted when the Tree is closed or the process has ended.
func Mount(file *os.File, p Partition) (mount.Tree, error) {
	kind, err := fileSystem(io.NewSectionReader(file, p.Offset, p.Size))
	if err != nil {
		return mount.Tree{}, err
	}
	device, name, err := attach(file, p)
	if err != nil {
		return mount.Tree{}, fmt.Errorf("loop device: %w", err)
	}
	defer unix.Close(device) // the mount holds it
	f := fileSystems[kind]
	data := append([]string{"source=" + name, "ro"}, f.options...)
	return mount.New(f.name, data, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// tries is how often attach tries again, if another process takes the free loop device
// first.
const tries = 64

// attach attaches a partition to a loop device, read-only. The kernel detaches it when
// no process has it open or mounted, and does not look for partitions in it.
func attach(file *os.File, p Partition) (fd int, name string, err error) {
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open /dev/loop-control: %w", err)
	}
	defer unix.Close(control)
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Offset: uint64(p.Offset), Sizelimit: uint64(p.Size),
		Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], filepath.Base(file.Name()))
	for range tries {
		number, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, "", fmt.Errorf("find a free one: %w", err)
		}
		name = "/dev/loop" + strconv.Itoa(number)
		if fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return -1, "", fmt.Errorf("open %s: %w", name, err)
		}
		if err = unix.IoctlLoopConfigure(fd, &config); err == nil {
			return fd, name, nil
		}
		unix.Close(fd)
		if err != unix.EBUSY {
			return -1, "", fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return -1, "", errors.New("others take every free one first")
}
