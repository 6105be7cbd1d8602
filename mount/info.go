package mount

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Info is a mount as /proc/PID/mountinfo describes it. See proc_pid_mountinfo(5).
type Info struct {
	ID, Parent uint64 // of the mount and of that on which it is mounted, as in Place
	Device     string // MAJOR:MINOR of the instance of the file system
	Root       string // the path in the file system of what is mounted
	Point      string // the mount point, from the root directory of the process
	Type       string // of the file system, such as "tmpfs"
	Options    string // of the instance of the file system, separated by commas
}

// Option tells whether the instance of the file system has an option.
func (i Info) Option(name string) bool { return slices.Contains(strings.Split(i.Options, ","), name) }

// ParseInfo parses the text of a mountinfo file. All code of the project that reads
// such a file does so by it: the kernel writes blanks, tabs, newlines and backslashes
// of names as octal numbers, and code that compares a name with the text itself would
// not find such a mount.
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

// parseLine parses a line: six fields, any number of optional ones, a hyphen, and three
// more. It returns not ok for anything else.
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
	one.Type, one.Options = unescape(fields[hyphen+1]), unescape(fields[hyphen+3])
	return one, errs[0] == nil && errs[1] == nil
}

// unescape replaces each backslash with three octal digits by the byte of that number.
// A name has no other backslash, since the kernel escapes that too.
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

// HasMounts tells whether anything is mounted on the Tree or below it. The Tree must be
// attached in the mount namespace of the calling thread. ENOSYS or EINVAL: the kernel
// does not tell (listmount(2), since Linux 6.8).
func (t Tree) HasMounts() (bool, error) {
	var st unix.Statx_t
	if err := statx(t.fd, "", unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
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
