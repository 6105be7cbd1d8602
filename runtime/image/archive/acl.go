package archive

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// aclKeys are the keys under which GNU tar and star store ACLs, as text.
var aclKeys = map[string]string{
	"SCHILY.acl.access":  "system.posix_acl_access",
	"SCHILY.acl.default": "system.posix_acl_default",
}

// ACL tags of linux/posix_acl.h, by the word of the text and whether a name follows.
var aclTags = map[string][2]uint16{
	"user":  {0x01, 0x02},
	"group": {0x04, 0x08},
	"mask":  {0x10, 0},
	"other": {0x20, 0},
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
		tags, ok := aclTags[fields[0]]
		if len(fields) < 3 || !ok {
			return "", fmt.Errorf("ACL entry %q: want TAG:[ID]:PERMISSIONS", line)
		}
		tag, id := tags[0], uint64(aclUndefined)
		if fields[1] != "" {
			number, err := strconv.ParseUint(fields[len(fields)-1], 10, 32)
			if len(fields) == 3 {
				number, err = strconv.ParseUint(fields[1], 10, 32)
			}
			if err != nil || tags[1] == 0 {
				return "", fmt.Errorf("ACL entry %q: want a number of a user or group", line)
			}
			tag, id = tags[1], number
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
