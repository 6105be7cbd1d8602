package programs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
)

// maxBeginning bounds what is read of a program that could not be executed, in bytes.
// The kernel reads 256 of a script, and linkers put what matters here at the beginning.
const maxBeginning = 4096

// Beginning reads the beginning of a regular file, with the thread's rights; nil if it
// cannot. proc is a descriptor of the thread's directory in procfs. A file in a file
// system of the caller's (FUSE) is not opened: that need not answer, and no thread of
// the supervisor's process may wait for it.
func Beginning(proc int, name string) []byte {
	look, err := syscall.Open(name, unix.O_PATH|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(look)
	if !isReadable(proc, look) {
		return nil
	}
	const flags = syscall.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY | syscall.O_CLOEXEC
	fd, err := unix.Openat(proc, "fd/"+strconv.Itoa(look), flags, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	data := make([]byte, maxBeginning)
	n, err := syscall.Read(fd, data)
	if err != nil {
		return nil
	}
	return data[:n]
}

// isReadable tells whether an O_PATH descriptor is of a regular file in a file system
// that answers by itself. The file system is not asked, not even for its type, as
// fstatfs(2) would.
func isReadable(proc, look int) bool {
	var st unix.Statx_t
	err := unix.Statx(look, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_MNT_ID, &st)
	if err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return false
	}
	fd, err := unix.Openat(proc, "mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	text, err := file.ReadFD(fd, mount.MaxInfo)
	if err != nil {
		return false
	}
	m, listed := mount.FindInfo(text, st.Mnt_id)
	return listed && !strings.HasPrefix(m.Type, "fuse") && m.Type != "ecryptfs"
}

// WhereIs returns the name of a program for the thread. The command, which is given
// directories to enter (nsexec.Command.Dirs), starts in the last one that it can enter.
func WhereIs(name string, dirs []string) string {
	if path.IsAbs(name) {
		return name
	}
	for _, dir := range slices.Backward(dirs) {
		var st syscall.Stat_t
		if there := path.Join(dir, name); syscall.Stat(there, &st) == nil {
			return there
		}
	}
	return name
}

// maxInterpreters is how many interpreters the kernel follows in a row.
const maxInterpreters = 5

// MissingInterpreter tells which interpreter or dynamic loader of a program is missing,
// as far as it can be found. dirs are as for WhereIs, proc as for Beginning.
func MissingInterpreter(proc int, name string, dirs []string) string {
	needs := "its"
	for range maxInterpreters {
		kind, interpreter := interpreterOf(Beginning(proc, WhereIs(name, dirs)))
		if interpreter == "" {
			break
		}
		var st syscall.Stat_t
		if syscall.Stat(WhereIs(interpreter, dirs), &st) != nil {
			text := fmt.Sprintf("%s %s %s is not in the container", needs, kind, Visible(interpreter))
			if strings.HasSuffix(interpreter, "\r") {
				text += ": its lines end with CR LF (DOS), and must end with LF"
			}
			return text
		}
		needs = Visible(interpreter) + "'s"
		name = interpreter
	}
	return "its interpreter or dynamic loader is not in the container"
}

// Visible returns a name, in quotes if it has characters that do not show.
func Visible(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || strings.ContainsAny(name, " \t") {
		return quoted
	}
	return name
}

// interpreterOf returns which file executes a program that begins so, and the kind of
// that file; name "": none.
func interpreterOf(data []byte) (kind, name string) {
	if script, ok := bytes.CutPrefix(data, []byte("#!")); ok {
		line, _, _ := bytes.Cut(script, []byte("\n"))
		line = bytes.TrimLeft(line, " \t")
		if end := bytes.IndexAny(line, " \t\x00"); end >= 0 {
			line = line[:end]
		}
		return "interpreter", string(line)
	}
	return "dynamic loader", loaderOf(data)
}

// loaderOf returns the dynamic loader that the beginning of an ELF file names (elf(5),
// PT_INTERP).
func loaderOf(data []byte) string {
	const headerSize = 64 // of the wider class
	if len(data) < headerSize || string(data[:4]) != "\x7fELF" {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if data[5] == 2 { // EI_DATA, ELFDATA2MSB
		order = binary.BigEndian
	}
	wide := data[4] == 2 // EI_CLASS, ELFCLASS64
	// word reads an address or offset, which is as wide as the class says.
	word := func(at []byte) uint64 {
		if wide {
			return order.Uint64(at)
		}
		return uint64(order.Uint32(at))
	}
	table, sizes, offset, length := word(data[28:]), data[42:], 4, 16
	if wide {
		table, sizes, offset, length = word(data[32:]), data[54:], 8, 32
	}
	size, count := uint64(order.Uint16(sizes)), uint64(order.Uint16(sizes[2:]))
	for i := range count {
		at := table + i*size
		if table > maxBeginning || at+56 > uint64(len(data)) || size < 32 {
			return ""
		}
		header := data[at : at+56]
		if order.Uint32(header) != 3 { // p_type, PT_INTERP
			continue
		}
		from, n := word(header[offset:]), word(header[length:])
		if from > uint64(len(data)) || n > uint64(len(data))-from {
			return ""
		}
		name, _, _ := bytes.Cut(data[from:from+n], []byte{0})
		return string(name)
	}
	return ""
}
