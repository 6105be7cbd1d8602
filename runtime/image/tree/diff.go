package tree

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// A Change is one way in which a tree differs from another.
type Change struct {
	Kind string `json:"kind"` // added, removed or changed
	Path string `json:"path"`
	What string `json:"what,omitempty"` // of what is changed: content, mode, owner, time, target, attributes
}

// Diff lists the changes from one tree to another, by path. It compares contents unless
// both files have the same inode and time, as in two snapshots.
func Diff(ctx context.Context, from, to int) ([]Change, error) {
	left, leftErr := entries(ctx, from)
	right, rightErr := entries(ctx, to)
	nextA, stopA := iter.Pull(left)
	defer stopA()
	nextB, stopB := iter.Pull(right)
	defer stopB()
	changes := []Change{}
	a, moreA := nextA()
	b, moreB := nextB()
	for moreA || moreB {
		order := 0
		switch {
		case !moreA:
			order = 1
		case !moreB:
			order = -1
		default:
			order = compare(a.Path, b.Path)
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Kind: "removed", Path: a.Path})
		case order > 0:
			changes = append(changes, Change{Kind: "added", Path: b.Path})
		default:
			what, err := differences(ctx, a, b, from, to)
			if err != nil {
				return nil, err
			}
			if what != "" {
				changes = append(changes, Change{"changed", a.Path, what})
			}
		}
		if order <= 0 {
			a, moreA = nextA()
		}
		if order >= 0 {
			b, moreB = nextB()
		}
	}
	if *leftErr != nil {
		return nil, *leftErr
	}
	return changes, *rightErr
}

// entries returns the entries of a tree as a sequence. The error is valid when the
// sequence has ended.
func entries(ctx context.Context, top int) (iter.Seq[*Entry], *error) {
	var failed error
	return func(yield func(*Entry) bool) {
		stop := fmt.Errorf("enough")
		err := Walk(ctx, top, func(e *Entry, _ Opener) error {
			if !yield(e) {
				return stop
			}
			return nil
		})
		if err != stop {
			failed = err
		}
	}, &failed
}

// compare compares paths in the order of Walk: by their components, a directory before
// its entries.
func compare(a, b string) int {
	if a == b {
		return 0
	}
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func differences(ctx context.Context, a, b *Entry, from, to int) (string, error) {
	var what []string
	add := func(differs bool, word string) {
		if differs {
			what = append(what, word)
		}
	}
	if a.Type() != b.Type() || a.Link != b.Link {
		return "type", nil
	}
	if a.Link != "" {
		return "", nil
	}
	add(a.Mode != b.Mode, "mode")
	add(a.UID != b.UID || a.GID != b.GID, "owner")
	add(a.Target != b.Target || a.Device != b.Device, "target")
	add(!slices.Equal(a.Xattrs, b.Xattrs), "attributes")
	add(!a.MTime.Equal(b.MTime), "time")
	if a.Regular() {
		same, err := sameContent(ctx, a, b, from, to)
		if err != nil {
			return "", err
		}
		add(!same, "content")
	}
	return strings.Join(what, ", "), nil
}

func sameContent(ctx context.Context, a, b *Entry, from, to int) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	if a.Inode == b.Inode && a.MTime.Equal(b.MTime) && a.CTime.Equal(b.CTime) {
		return true, nil
	}
	first, err := sumOf(ctx, from, a.Path)
	if err != nil {
		return false, err
	}
	second, err := sumOf(ctx, to, b.Path)
	return first == second, err
}

// sumOf computes the checksum of one file of a tree.
func sumOf(ctx context.Context, top int, path string) (string, error) {
	fd, _, err := file.OpenRegular(top, path, unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	content := os.NewFile(uintptr(fd), path)
	defer content.Close()
	sum, _, err := sumUp(ctx, content, make([]byte, 256<<10))
	return hex.EncodeToString(sum[:]), err
}
