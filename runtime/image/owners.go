package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
)

const (
	// dpkgInfo has a file NAME.list or NAME:ARCH.list for each package: the paths that
	// it owns.
	dpkgInfo = "/var/lib/dpkg/info"
	// Bounds for what a hostile image may have there.
	mostLists      = 20_000
	mostListsBytes = 64 << 20
	mostLinks      = 50_000
)

// movedToUsr are the directories that links to /usr have replaced in newer releases.
// Packages may still own paths in them.
var movedToUsr = []string{"/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"}

// Owners returns the packages that own paths of the image, for which wanted is true,
// from dpkg's records. It adds paths of symbolic links to programs and libraries, where
// these are wanted: who opens a file by a link uses the link's package too. A path that
// no package owns is not in the result.
func (i *Image) Owners(wanted func(string) bool) (map[string]string, error) {
	found := map[string]string{}
	root := mount.RootAt(i.fd)
	dir, err := root.Open(dpkgInfo, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: open %s: %w", i, dpkgInfo, err)
	}
	defer unix.Close(dir)
	list, err := entries(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("image %s: %s: %w", i, dpkgInfo, err)
	}
	lists, links, left := 0, 0, int64(mostListsBytes)
	for _, entry := range list {
		name, is := strings.CutSuffix(entry.Name(), ".list")
		if !is {
			continue
		}
		if lists++; lists > mostLists || left <= 0 {
			return found, fmt.Errorf("image %s: %s: more than %d files, or %d bytes", i, dpkgInfo, mostLists, int64(mostListsBytes))
		}
		read, err := ownedBy(root, path.Join(dpkgInfo, entry.Name()), left, func(owned string) {
			owned, ok := whatIsWanted(owned, wanted)
			if !ok && mayBeLink(owned) {
				if links++; links > mostLinks {
					return
				}
				ok = wanted(i.leadsTo(root, owned))
			}
			if ok {
				found[owned], _, _ = strings.Cut(name, ":")
			}
		})
		if left -= read; err != nil {
			return found, fmt.Errorf("image %s: %w", i, err)
		}
		if links > mostLinks {
			return found, fmt.Errorf("image %s: %s: more than %d links", i, dpkgInfo, mostLinks)
		}
	}
	return found, nil
}

// whatIsWanted returns the path by which an owned path is wanted.
func whatIsWanted(owned string, wanted func(string) bool) (string, bool) {
	if wanted(owned) {
		return owned, true
	}
	for _, dir := range movedToUsr {
		if strings.HasPrefix(owned, dir) && wanted("/usr"+owned) {
			return "/usr" + owned, true
		}
	}
	return owned, false
}

// mayBeLink tells whether a path is where packages have links by which programs and
// libraries are opened.
func mayBeLink(name string) bool {
	dir, base := path.Split(name)
	return strings.HasSuffix(dir, "bin/") || strings.HasSuffix(base, ".so")
}

// leadsTo returns the path in the image to which a path leads; "": to none.
func (i *Image) leadsTo(root mount.Root, name string) string {
	fd, err := root.Open(name, unix.O_PATH)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	place, err := file.PathOf(fd)
	if err != nil {
		return ""
	}
	inside, _ := strings.CutPrefix(place, i.Path)
	return inside
}

// ownedBy tells the paths in one list, and returns how many bytes it has read.
func ownedBy(root mount.Root, name string, most int64, tell func(string)) (int64, error) {
	fd, err := root.OpenRegular(name)
	if errors.Is(err, unix.ENOENT) { // removed meanwhile
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", name, err)
	}
	list := os.NewFile(uintptr(fd), name)
	defer list.Close()
	limited := &io.LimitedReader{R: list, N: most}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		tell(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return most - limited.N, fmt.Errorf("read %s: %w", name, err)
	}
	return most - limited.N, nil
}
