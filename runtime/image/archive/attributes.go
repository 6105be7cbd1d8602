package archive

import (
	"archive/tar"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/tree"
)

// own sets the owner, mode and attributes of an open file, in this order: chown(2)
// clears set-user-ID bits and capabilities, and an ACL that the file has inherited from
// its directory changes the meaning of the mode.
func (x *Extractor) own(fd int, st *unix.Stat_t, h *tar.Header, attributes []tree.Xattr) error {
	uid, gid := x.owner(h)
	if st.Uid != uint32(uid) || st.Gid != uint32(gid) {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return fmt.Errorf("chown: %w", err)
		}
	}
	if x.parent.inherits || st.Mode&unix.S_IFMT == unix.S_IFDIR { // which may have been there
		if err := removeOthers("/proc/self/fd/"+strconv.Itoa(fd), attributes); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	for _, a := range attributes {
		if err := unix.Fsetxattr(fd, a.Name, []byte(a.Value), 0); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", a.Name, err)
		}
	}
	return nil
}

// owner returns the owner of a file: root, if no other ids are mapped.
func (x *Extractor) owner(h *tar.Header) (uid, gid int) {
	if root := x.Here.Root(); !x.Here.HasIDs() {
		return int(root.UID), int(root.GID)
	}
	return h.Uid, h.Gid
}

// setAttributes does the same for files that cannot be opened, and sets their time. No
// other process changes the tree, so a device node or FIFO that was just made is not a
// link now. Links have no attributes.
func (x *Extractor) setAttributes(dir int, base string, h *tar.Header, attributes []tree.Xattr) error {
	uid, gid := x.owner(h)
	if err := unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	if h.Typeflag != tar.TypeSymlink {
		path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
		if x.parent.inherits {
			if err := removeOthers(path, attributes); err != nil {
				return err
			}
		}
		if err := unix.Fchmodat(dir, base, uint32(h.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
		for _, a := range attributes {
			if err := unix.Lsetxattr(path, a.Name, []byte(a.Value), 0); err != nil {
				return fmt.Errorf("set extended attribute %s: %w", a.Name, err)
			}
		}
	}
	return unix.UtimesNanoAt(dir, base, timespecs(h.ModTime), unix.AT_SYMLINK_NOFOLLOW)
}

// removeOthers removes attributes that a file has but should not have: ACLs inherited
// from its directory, and attributes of an earlier layer.
func removeOthers(path string, attributes []tree.Xattr) error {
	var list [4096]byte
	n, err := unix.Listxattr(path, list[:])
	if err != nil && err != unix.ENOTSUP {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(string(list[:max(n, 0)]), "\x00") {
		wanted := slices.ContainsFunc(attributes, func(a tree.Xattr) bool { return a.Name == name })
		if !tree.Kept(name) || wanted {
			continue
		}
		if err := unix.Removexattr(path, name); err != nil {
			return fmt.Errorf("remove extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func timespecs(t time.Time) []unix.Timespec {
	now := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return []unix.Timespec{now, now}
}

// attributes returns the extended attributes of a header that belong into an image.
func (x *Extractor) attributes(h *tar.Header) ([]tree.Xattr, error) {
	var list []tree.Xattr
	for key, value := range h.PAXRecords {
		name, is := strings.CutPrefix(key, xattrKey)
		if acl := aclAttribute(key); acl != "" {
			var err error
			if value, err = parseACL(value); err != nil {
				return nil, err
			}
			name, is = acl, true
		}
		if !is {
			continue
		}
		if !tree.Kept(name) {
			x.Dropped++
			continue
		}
		if x.Powerless && name == "security.capability" || is && strings.HasPrefix(name, "system.posix_acl_") && !x.Here.HasIDs() {
			continue
		}
		list = append(list, tree.Xattr{Name: name, Value: value})
	}
	return list, nil
}
