package provenance

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mostOutputs bounds the files that globs match.
const mostOutputs = 100_000

// CheckGlob refuses a glob that leads out of the directory.
func CheckGlob(glob string) error {
	if _, err := filepath.Match(glob, ""); err != nil || glob == "" {
		return fmt.Errorf("glob %q: want one such as *.deb", glob)
	}
	if !filepath.IsLocal(glob) {
		return fmt.Errorf("glob %q: want one that begins in the working directory and stays in it", glob)
	}
	return nil
}

// Outputs lists the regular files below a directory that globs match, or that are in
// directories which they match. Links are not followed. A glob that matches nothing is
// in unmatched.
func Outputs(dir string, globs []string) (files, unmatched []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	for _, glob := range globs {
		if err := CheckGlob(glob); err != nil {
			return nil, nil, err
		}
		names, err := fs.Glob(root.FS(), filepath.ToSlash(filepath.Clean(glob)))
		if err != nil {
			return nil, nil, err
		}
		before := len(files)
		for _, name := range names {
			if is, err := root.Lstat(name); err != nil || is.Mode()&fs.ModeSymlink != 0 {
				continue // WalkDir would follow it
			}
			err := fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					files = append(files, path)
				}
				if len(files) > mostOutputs {
					return fmt.Errorf("more than %d outputs", mostOutputs)
				}
				return err
			})
			if err != nil {
				return nil, nil, err
			}
		}
		if len(files) == before {
			unmatched = append(unmatched, glob)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), unmatched, nil
}

// Now is the time that the kernel writes into files: it lags behind the clock a little.
func Now() (time.Time, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
	return time.Unix(now.Unix()), err
}

// Digests returns the outputs as subjects. A file that has not changed since a time is
// refused: the run has not made it. since is Now of before the run; zero: any time will
// do.
func Digests(dir string, files []string, since time.Time) ([]Resource, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list := []Resource{}
	for _, name := range files {
		sum, err := digest(root, name, since)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		list = append(list, Resource{Name: name, Digest: map[string]string{"sha256": sum}})
	}
	return list, nil
}

func digest(root *os.Root, name string, since time.Time) (string, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", errors.New("it is no regular file")
	case time.Unix(st.Ctim.Unix()).Before(since):
		return "", errors.New("it was there before the run, and has not changed: remove it before, so that the run makes it")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// A Comparison is what has become of one output.
type Comparison struct {
	Name     string `json:"name"`
	Recorded string `json:"recorded,omitempty"` // SHA-256; "": it was not there
	Now      string `json:"now,omitempty"`      // "": it is not there
}

// Same tells whether the content is the same.
func (c Comparison) Same() bool { return c.Recorded == c.Now }

// Compare compares recorded outputs with those that are there now, by name.
func Compare(recorded, now []Resource) []Comparison {
	byName := map[string]*Comparison{}
	at := func(name string) *Comparison {
		if byName[name] == nil {
			byName[name] = &Comparison{Name: name}
		}
		return byName[name]
	}
	for _, r := range recorded {
		at(r.Name).Recorded = r.Digest["sha256"]
	}
	for _, r := range now {
		at(r.Name).Now = r.Digest["sha256"]
	}
	list := []Comparison{}
	for _, c := range byName {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Comparison) int { return strings.Compare(a.Name, b.Name) })
	return list
}
