package archive

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// aclAttribute returns the attribute of an ACL that GNU tar and star store as text,
// under this key; "": the key is of something else.
func aclAttribute(key string) string {
	switch key {
	case "SCHILY.acl.access":
		return "system.posix_acl_access"
	case "SCHILY.acl.default":
		return "system.posix_acl_default"
	}
	return ""
}

// aclTags returns the tags of linux/posix_acl.h for a word of the text, and for it with
// a name; 0: there is none.
func aclTags(word string) (bare, named uint16) {
	switch word {
	case "user":
		return 0x01, 0x02
	case "group":
		return 0x04, 0x08
	case "mask":
		return 0x10, 0
	case "other":
		return 0x20, 0
	}
	return 0, 0
}

const (
	aclVersion   = 2 // POSIX_ACL_XATTR_VERSION
	aclUndefined = 1<<32 - 1
)

// parseACL turns an ACL's text, as in acl(5), into an extended attribute's value: a
// header and entries of tag, permissions and id, little-endian
// (linux/posix_acl_xattr.h). Users and groups must be numbers or have one as a fourth
// field: names are of another system.
func parseACL(text string) (string, error) {
	value := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for line := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) == 1 && fields[0] == "" {
			continue
		}
		tag, named := aclTags(fields[0])
		if len(fields) < 3 || tag == 0 {
			return "", fmt.Errorf("ACL entry %q: want TAG:[ID]:PERMISSIONS", line)
		}
		id := uint64(aclUndefined)
		if fields[1] != "" {
			number, err := strconv.ParseUint(fields[len(fields)-1], 10, 32)
			if len(fields) == 3 {
				number, err = strconv.ParseUint(fields[1], 10, 32)
			}
			if err != nil || named == 0 {
				return "", fmt.Errorf("ACL entry %q: want a number of a user or group", line)
			}
			tag, id = named, number
		}
		var permissions uint16
		for i, letter := range "xwr" {
			if strings.ContainsRune(fields[2], letter) {
				permissions |= 1 << i
			}
		}
		value = binary.LittleEndian.AppendUint16(value, tag)
		value = binary.LittleEndian.AppendUint16(value, permissions)
		value = binary.LittleEndian.AppendUint32(value, uint32(id))
	}
	return string(value), nil
}
