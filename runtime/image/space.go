package image

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/state"
)

// Space is the space that a store uses, and what is in it.
type Space struct {
	Path      string        `json:"path"`
	Kind      string        `json:"kind"` // btrfs or overlay
	Size      uint64        `json:"size"` // of the file system, bytes
	Free      uint64        `json:"free"`
	Pools     []btrfs.Space `json:"pools,omitempty"` // on BTRFS: data, metadata, system
	Images    int           `json:"images"`
	Versions  int           `json:"versions"`
	Living    int           `json:"living"`     // snapshots and drafts of running processes
	Leftovers int           `json:"orphans"`    // leftovers: `runtime gc` removes them
	Running   int           `json:"containers"` // with or without a snapshot
	// Old are versions that are neither current nor in use, which `image prune` and
	// `image remove` can remove. OldBytes is their content: what others share with them
	// stays.
	Old      int   `json:"oldVersions"`
	OldBytes int64 `json:"oldBytes"`
}

// Status measures the store, and counts what is in it.
func (s *Store) Status() (Space, error) {
	space := Space{Path: s.Path, Kind: "overlay"}
	var st unix.Statfs_t
	if err := unix.Fstatfs(s.fd, &st); err != nil {
		return space, fmt.Errorf("statfs %s: %w", s.Path, err)
	}
	space.Size, space.Free = st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
	var err error
	if s.BTRFS {
		space.Kind = "btrfs"
		if space.Pools, err = btrfs.Spaces(s.fd); err != nil {
			return space, err
		}
	}
	images, err := s.List()
	if err != nil {
		return space, err
	}
	space.Images = len(images)
	for _, i := range images {
		space.Versions += i.Versions
		if err := s.countOld(i, &space); err != nil {
			return space, err
		}
	}
	running, err := state.ListAll(s.Here)
	if err != nil {
		return space, err
	}
	space.Running = len(running)
	return space, s.countCopies(&space)
}

func (s *Store) countOld(d Description, space *Space) error {
	if d.Versions < 2 {
		return nil
	}
	history, err := s.History(d.Name)
	if err != nil { // it was removed meanwhile, or a record is broken, which the list tells
		return nil
	}
	for _, e := range history {
		if !e.Current && !e.InUse {
			space.Old++
			space.OldBytes += e.Bytes
		}
	}
	return nil
}

func (s *Store) countCopies(space *Space) error {
	dir, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	list, err := entries(dir, ".")
	if err != nil {
		return err
	}
	for _, entry := range list {
		if strings.HasSuffix(entry.Name(), heldSuffix) {
			continue
		}
		if s.lives(dir, entry.Name()) {
			space.Living++
		} else {
			space.Leftovers++
		}
	}
	return nil
}

// Sizes are the bytes that a version shares with others, and those that it has alone.
type Sizes struct {
	Total     int64 `json:"total"`
	Exclusive int64 `json:"exclusive"`
	Shared    int64 `json:"shared"` // each shared block counted once
}

// Measure measures with btrfs(8) how much an image on BTRFS shares. It reads the layout
// of every file.
func (i *Image) Measure() (Sizes, error) {
	var z Sizes
	out, err := exec.Command("btrfs", "filesystem", "du", "--raw", "--summarize", i.Path).Output()
	if err != nil {
		return z, fmt.Errorf("measure image %s: btrfs filesystem du: %w", i, err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	fields := bytes.Fields(lines[len(lines)-1])
	if len(lines) < 2 || len(fields) < 4 {
		return z, fmt.Errorf("measure image %s: btrfs filesystem du said %q", i, out)
	}
	for n, into := range []*int64{&z.Total, &z.Exclusive, &z.Shared} {
		if *into, err = strconv.ParseInt(string(fields[n]), 10, 64); err != nil {
			return z, fmt.Errorf("measure image %s: %w", i, err)
		}
	}
	return z, nil
}
