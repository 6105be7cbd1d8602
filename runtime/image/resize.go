package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Resize changes the size of the file that holds a mounted store, and of the BTRFS in
// it, and returns a message that says what it did. The file system is made smaller
// before the file, and larger after it: whenever it is interrupted, the file holds it
// all. The kernel refuses what would not hold the content.
func Resize(path, size string) (string, error) {
	bytes, err := ParseSize(size)
	if err != nil {
		return "", err
	}
	bytes = bytes &^ 4095 // BTRFS has whole blocks
	if bytes < minimumSize {
		return "", fmt.Errorf("size %s: at least %dM are needed", size, minimumSize>>20)
	}
	name := backingFile(path)
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("store %s is in no file of its own (%s): resize the file system on which it is", path, name)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if on, err := isBTRFS(path); err != nil || !on {
		return "", errors.Join(err, fmt.Errorf("store %s is not mounted: `runtime store mount` does it", path))
	}
	devices, err := loopDevices(name)
	if err != nil {
		return "", err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case bytes >= info.Size(): // an equal one completes what was interrupted
		if err = f.Truncate(bytes); err == nil {
			err = tellDevices(devices)
		}
		if err == nil {
			err = tool("btrfs", "btrfs-progs", "filesystem", "resize", "max", path)
		}
	default:
		err = tool("btrfs", "btrfs-progs", "filesystem", "resize", strconv.FormatInt(bytes, 10), path)
		if err == nil {
			err = f.Truncate(bytes)
		}
		if err == nil {
			err = tellDevices(devices)
		}
	}
	if err != nil {
		return "", fmt.Errorf("resize store %s: %w", path, err)
	}
	return fmt.Sprintf("store %s, in the file %s, may grow to %s", path, name, size), nil
}

// loopDevices lists the loop devices of a file.
func loopDevices(name string) (devices []string, err error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSuffix(string(text), "\n") == real {
			devices = append(devices, filepath.Join("/dev", filepath.Base(filepath.Dir(filepath.Dir(file)))))
		}
	}
	if devices == nil {
		return nil, fmt.Errorf("no loop device has the file %s: is another file system mounted in the store's place?", name)
	}
	return devices, nil
}

// tellDevices has loop devices read the size of their file again.
func tellDevices(devices []string) error {
	for _, device := range devices {
		fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0)
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", device, err)
		}
	}
	return nil
}
