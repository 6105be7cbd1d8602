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

// A Package is an installed package, as dpkg records it.
type Package struct {
	Name, Version, Arch string
	Source              string // name and perhaps (version) of its source package; "": as its own
	Maintainer          string
	Homepage            string
	Depends             string // Pre-Depends too
	Provides            string
	Needed              bool // Essential, or of priority required: every system has it
}

// Installed lists the installed packages in the order of dpkg's records. An image
// without dpkg has none.
func (i *Image) Installed() ([]Package, error) {
	list, err := installedIn(i.fd)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i, err)
	}
	return list, nil
}

// Packages returns the installed packages and their versions. A package of another
// architecture than the first one is NAME:ARCH.
func (i *Image) Packages() (map[string]string, error) {
	list, err := i.Installed()
	return versionsOf(list), err
}

// Packages returns those of the draft, in the same way.
func (d *Draft) Packages() (map[string]string, error) {
	list, err := installedIn(d.fd)
	return versionsOf(list), err
}

func versionsOf(list []Package) map[string]string {
	found := map[string]string{}
	for _, p := range list {
		name := p.Name
		if _, twice := found[name]; twice {
			name += ":" + p.Arch
		}
		found[name] = p.Version
	}
	return found
}

// installedIn reads the records below the directory root.
func installedIn(root int) (list []Package, err error) {
	fd, err := mount.RootAt(root).OpenRegular(dpkgStatus)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dpkgStatus, err)
	}
	file := os.NewFile(uintptr(fd), dpkgStatus)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	var p Package
	installed := false
	end := func() {
		if installed && p.Name != "" {
			list = append(list, p)
		}
		p, installed = Package{}, false
	}
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "":
			end()
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		default:
			p.set(key, value)
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", dpkgStatus, err)
	}
	return list, nil
}

// set takes over a field of a record.
func (p *Package) set(key, value string) {
	switch key {
	case "Package":
		p.Name = value
	case "Version":
		p.Version = value
	case "Architecture":
		p.Arch = value
	case "Source":
		p.Source = value
	case "Maintainer":
		p.Maintainer = value
	case "Homepage":
		p.Homepage = value
	case "Depends", "Pre-Depends":
		p.Depends = strings.TrimPrefix(p.Depends+", "+value, ", ")
	case "Provides":
		p.Provides = value
	case "Essential":
		p.Needed = p.Needed || value == "yes"
	case "Priority":
		p.Needed = p.Needed || value == "required"
	}
}
