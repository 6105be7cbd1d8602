package mount

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Info is one mount as /proc/PID/mountinfo describes it. See proc(5).
type Info struct {
	ID, Parent uint64 // as in Place
	Device     string // MAJOR:MINOR, one for each instance of a file system
	Root       string // which directory or file of the file system is mounted
	Point      string // where, as seen from the root directory of the process
	Type       string // of the file system, "tmpfs"
}

// ParseInfo reads the text of a mountinfo file. It is the one place that does: the kernel
// writes blanks, tabs, newlines and backslashes in names as octal numbers, and a
// comparison with what it wrote misses what is mounted there.
func ParseInfo(text string) ([]Info, error) {
	list := make([]Info, 0, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		one, ok := parseLine(strings.TrimSuffix(line, "\n"))
		if !ok {
			return nil, fmt.Errorf("mountinfo: cannot read the line %q", line)
		}
		list = append(list, one)
	}
	return list, nil
}

// parseLine reads a line: six fields, any number of optional ones, a hyphen, three more.
func parseLine(line string) (one Info, ok bool) {
	const optional = 6
	fields := strings.Split(line, " ")
	if len(fields) < optional {
		return one, false
	}
	hyphen := slices.Index(fields[optional:], "-") + optional
	if hyphen < optional || len(fields) < hyphen+4 {
		return one, false
	}
	var errs [2]error
	one.ID, errs[0] = strconv.ParseUint(fields[0], 10, 64)
	one.Parent, errs[1] = strconv.ParseUint(fields[1], 10, 64)
	one.Device, one.Root, one.Point = fields[2], unescape(fields[3]), unescape(fields[4])
	one.Type = unescape(fields[hyphen+1])
	return one, errs[0] == nil && errs[1] == nil
}

// unescape puts characters in the place of their octal numbers, a backslash and three
// digits. A name has no other backslash, for that is escaped itself.
func unescape(field string) string {
	if strings.IndexByte(field, '\\') < 0 {
		return field
	}
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if c, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(field[i])
	}
	return b.String()
}

// HasMounts tells whether anything is mounted below an attached Tree, or on it
// (listmount(2), since Linux 6.8); ENOSYS or EINVAL that this kernel does not tell. The
// thread must be in the mount namespace.
func (t Tree) HasMounts() (bool, error) {
	var st unix.Statx_t
	if err := statx(t.fd, unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		return false, err
	}
	if st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return false, unix.ENOSYS
	}
	request := struct { // struct mnt_id_req
		size, spare uint32
		mount, last uint64
	}{size: 24, mount: st.Mnt_id}
	var first [1]uint64
	n, _, errno := unix.RawSyscall6(unix.SYS_LISTMOUNT, uintptr(unsafe.Pointer(&request)), uintptr(unsafe.Pointer(&first)), 1, 0, 0, 0)
	return n > 0, failed(errno)
}
