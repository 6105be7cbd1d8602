package image

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// dpkgStatus is where Debian's systems record what is installed.
const dpkgStatus = "/var/lib/dpkg/status"

// Packages returns the installed packages and their versions, from dpkg's records. A
// package of another architecture than the first one is NAME:ARCH. An image without
// dpkg has none.
func (i *Image) Packages() (map[string]string, error) {
	found, err := packagesIn(i.fd)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i, err)
	}
	return found, nil
}

// Packages returns those of the draft, in the same way.
func (d *Draft) Packages() (map[string]string, error) { return packagesIn(d.fd) }

// packagesIn reads the records below the directory root.
func packagesIn(root int) (map[string]string, error) {
	found := map[string]string{}
	fd, err := mount.RootAt(root).OpenRegular(dpkgStatus)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dpkgStatus, err)
	}
	file := os.NewFile(uintptr(fd), dpkgStatus)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	var name, version, arch string
	installed := false
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "Package":
			name, version, arch, installed = value, "", "", false
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		case "Architecture":
			arch = value
		case "Version":
			version = value
		case "":
			addPackage(found, installed, name, arch, version)
			installed = false
		}
	}
	addPackage(found, installed, name, arch, version)
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", dpkgStatus, err)
	}
	return found, nil
}

func addPackage(found map[string]string, installed bool, name, arch, version string) {
	if !installed || name == "" {
		return
	}
	if _, twice := found[name]; twice {
		name += ":" + arch
	}
	found[name] = version
}
