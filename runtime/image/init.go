package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/host"
)

// backingFile returns the file that holds a store's BTRFS, if its directory is not on
// BTRFS.
func backingFile(store string) string { return filepath.Clean(store) + ".btrfs" }

// mountOptions are the options of a store's mount. noatime: a read of an image's file
// must not write to the image. nosuid, nodev: setuid programs and device nodes of
// images have no effect on the host.
const mountOptions = "loop,noatime,nosuid,nodev"

// Init makes a store at an absolute path, and returns a message that says what it did.
// If the directory is on BTRFS, it is used as it is. Otherwise Init makes a file that
// holds a BTRFS, and mounts it. If overlay is set, or this system has no BTRFS, the
// directory becomes an overlay store: snapshots are made with overlayfs. If Init fails,
// it removes the file.
func Init(h here.Here, path, size string, overlay bool) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("store %q is not an absolute path", path)
	}
	bytes, err := ParseSize(size)
	if err != nil {
		return "", err
	}
	if bytes < minimumSize {
		return "", fmt.Errorf("size %s: at least %dM are needed", size, minimumSize>>20)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", fmt.Errorf("make store: %w", err)
	}
	done := "store " + path + " is on BTRFS already"
	if on, err := isBTRFS(path); err != nil {
		return "", err
	} else if overlay && on {
		return "", fmt.Errorf("store %s is on BTRFS, where copies are made by snapshot", path)
	} else if overlay || !on && !hasBTRFS() {
		if done, err = initOverlay(path); err != nil {
			return "", err
		}
	} else if !on {
		if done, err = initFile(path, bytes); err != nil {
			return "", err
		}
	}
	store, err := Open(h, path)
	if err != nil {
		return "", err
	}
	defer store.Close()
	dir, err := store.runDir()
	if err != nil {
		return "", err
	}
	return done, unix.Close(dir)
}

func isBTRFS(path string) (bool, error) {
	fd, err := openDirectory(unix.AT_FDCWD, path)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	return btrfs.Is(fd)
}

// hasBTRFS returns whether this system can make and mount BTRFS.
func hasBTRFS() bool {
	list, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(list), "\tbtrfs\n") && exec.Command("modprobe", "btrfs").Run() != nil {
		return false
	}
	_, err = exec.LookPath("mkfs.btrfs")
	return err == nil
}

// initOverlay makes an overlay store.
func initOverlay(path string) (string, error) {
	if err := os.Chmod(path, 0o700); err != nil {
		return "", err
	}
	return "store " + path + " is a directory, copies are made with overlayfs: `runtime grant` grants what that takes", nil
}

func initFile(path string, size int64) (string, error) {
	list, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("look into %s: %w", path, err)
	}
	if len(list) > 0 {
		return "", fmt.Errorf("%s is not empty and not on BTRFS: a file system mounted there would hide %s; move it away or use --store",
			path, strconv.QuoteToASCII(list[0].Name()))
	}
	file := backingFile(path)
	made, err := makeBackingFile(file, size)
	if err != nil {
		return "", err
	}
	grown := ""
	if !made {
		grown = ", which was there and keeps its size (`runtime store resize` changes it)"
	}
	err = errors.Join(mountAtBoot(path), Mount(path))
	if err == nil {
		// Images contain setuid programs of other systems, so only root may enter the
		// store.
		err = os.Chmod(path, 0o700)
	}
	if err != nil {
		if made {
			err = errors.Join(err, forgetAtBoot(path), os.Remove(file))
		}
		return "", err
	}
	return fmt.Sprintf("store %s is BTRFS in the file %s%s, mounted%s", path, file, grown, bootHint()), nil
}

// makeBackingFile makes the file and a BTRFS in it. It returns whether it made the
// file: an existing one holds images, and stays as it is.
func makeBackingFile(file string, size int64) (made bool, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make store: %w", err)
	}
	err = errors.Join(f.Truncate(size), f.Close())
	if err == nil {
		err = tool("mkfs.btrfs", "btrfs-progs", "--quiet", file)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("make store: %w", err), os.Remove(file))
	}
	return true, nil
}

// Mount mounts a store that Init has made in a file. If the store is mounted already,
// Mount adds nosuid and nodev.
func Mount(path string) error {
	if on, err := isBTRFS(path); err == nil && on {
		return closeMount(path)
	}
	file := backingFile(path)
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("mount store: %w: `runtime store init` makes it", err)
	}
	return tool("mount", "mount", "-t", "btrfs", "-o", mountOptions, file, path)
}

func bootHint() string {
	if host.Systemd() {
		return " at every boot"
	}
	return "; `runtime store mount` mounts it again after a boot"
}

// unitName returns the name that systemd requires of a mount unit for the path.
func unitName(path string) (string, error) {
	name, err := exec.Command("systemd-escape", "--path", "--suffix=mount", path).Output()
	if err != nil {
		return "", fmt.Errorf("systemd-escape %s: %w", path, err)
	}
	return strings.TrimSpace(string(name)), nil
}

// mountAtBoot installs a mount unit, if systemd runs.
func mountAtBoot(path string) error {
	if !host.Systemd() {
		return nil
	}
	unit, err := unitName(path)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("[Unit]\nDescription=Image store of Mayfly\n\n[Mount]\nWhat=%s\nWhere=%s\nType=btrfs\nOptions=%s\n\n"+
		"[Install]\nWantedBy=local-fs.target\n", backingFile(path), filepath.Clean(path), mountOptions)
	if err := os.WriteFile(filepath.Join(host.UnitDirectory, unit), []byte(text), 0o644); err != nil {
		return fmt.Errorf("install mount unit: %w", err)
	}
	if err := tool("systemctl", "systemd", "daemon-reload"); err != nil {
		return err
	}
	return tool("systemctl", "systemd", "enable", "--now", unit)
}

// forgetAtBoot undoes what mountAtBoot has done, also if it failed half-way.
func forgetAtBoot(path string) error {
	if !host.Systemd() {
		return nil
	}
	unit, err := unitName(path)
	if err != nil {
		return err
	}
	file := filepath.Join(host.UnitDirectory, unit)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(tool("systemctl", "systemd", "disable", "--now", unit), os.Remove(file))
}

// minimumSize is the size that mkfs.btrfs and one image need.
const minimumSize = 256 << 20

// ParseSize parses a size in bytes: a number with an optional K, M, G or T (powers of
// 1024).
func ParseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for i, suffix := range []string{"K", "M", "G", "T"} {
		if trimmed, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = trimmed, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size: use e.g. 512M or 4G", text)
	}
	return n * unit, nil
}
