// Package disk reads disk images of virtual machines and systemd-nspawn: it finds the
// partition with the root file system, and lets the kernel mount it.
package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Partition is a part of a file.
type Partition struct {
	Number       int // from 1; 0: the whole file
	Offset, Size int64
	kind         string // from its type: Debian's name of an architecture, "linux", or ""
}

// types are the partition types for root file systems of the Discoverable Partitions
// Specification, and the type of Linux data. (A map would be built at each launch.)
var types = []struct{ guid, kind string }{
	{"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "amd64"},
	{"44479540-f297-41b2-9af7-d131d5f0458a", "i386"},
	{"b921b045-1df0-41c3-af44-4c6f280d3fae", "arm64"},
	{"69dad710-2ce4-4e3c-b16c-21a1d49abed3", "armhf"},
	{"0fc63daf-8483-4772-8e79-3d69d8477de4", linux},
}

func kindOf(guid string) string {
	for _, t := range types {
		if t.guid == guid {
			return t.kind
		}
	}
	return ""
}

const (
	linux      = "linux"
	mbrLinux   = 0x83
	maxEntries = 1024
	maxEntry   = 4096 // bytes
)

var errNoTable = errors.New("no partition table")

// Root finds the partition with the root file system in a file of size bytes. If there
// are several, it prefers architecture arch, then host, this machine's. Both are
// Debian's names.
func Root(file io.ReaderAt, size int64, arch, host string) (Partition, error) {
	list, err := partitions(file)
	if errors.Is(err, errNoTable) {
		if _, err := fileSystem(io.NewSectionReader(file, 0, size)); err == nil {
			return Partition{Size: size}, nil
		}
	}
	if err != nil {
		return Partition{}, err
	}
	p, err := choose(list, arch, host)
	if err == nil && (p.Offset <= 0 || p.Size <= 0 || p.Size > size-p.Offset) {
		err = fmt.Errorf("partition %d is not within the file: was it cut off?", p.Number)
	}
	return p, err
}

// choose returns the root partition of an architecture, else the only root partition,
// else the only Linux partition.
func choose(list []Partition, arch, host string) (Partition, error) {
	of := func(is func(kind string) bool) (found []Partition) {
		for _, p := range list {
			if is(p.kind) {
				found = append(found, p)
			}
		}
		return found
	}
	named := func(name string) func(string) bool { return func(kind string) bool { return kind == name } }
	fit := of(named(arch))
	if arch == "" {
		for _, is := range []func(string) bool{named(host), func(kind string) bool { return kind != "" && kind != linux }, named(linux)} {
			if fit = of(is); len(fit) > 0 {
				break
			}
		}
	} else if len(fit) == 0 {
		fit = of(named(linux))
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	var told []string
	for _, p := range list {
		told = append(told, fmt.Sprintf("%d (%s, %d MiB)", p.Number, p.kindName(), p.Size>>20))
	}
	return Partition{}, fmt.Errorf("%d of its partitions can be the root file system, want one, of %s: "+
		"`losetup --find --show --partscan --read-only FILE`, mount the right one, and import the directory", len(fit), strings.Join(told, ", "))
}

func (p Partition) kindName() string {
	switch p.kind {
	case "":
		return "other"
	case linux:
		return "Linux"
	}
	return "root for " + p.kind
}

// partitions reads the partition table: a GPT, of sectors of 512 or 4096 bytes, or an
// MBR.
func partitions(file io.ReaderAt) ([]Partition, error) {
	for _, sector := range []int64{512, 4096} {
		header := make([]byte, 92)
		if _, err := file.ReadAt(header, sector); err == nil && string(header[:8]) == "EFI PART" {
			return gpt(file, header, sector)
		}
	}
	return mbr(file)
}

func gpt(file io.ReaderAt, header []byte, sector int64) ([]Partition, error) {
	first, number, size := binary.LittleEndian.Uint64(header[72:]), binary.LittleEndian.Uint32(header[80:]), binary.LittleEndian.Uint32(header[84:])
	if number > maxEntries || size < 128 || size > maxEntry || first > 1<<40 {
		return nil, errors.New("its partition table (GPT) is damaged")
	}
	table := make([]byte, int(number*size))
	if _, err := file.ReadAt(table, int64(first)*sector); err != nil {
		return nil, fmt.Errorf("read its partition table (GPT): %w", err)
	}
	var list []Partition
	for i := range int(number) {
		entry := table[i*int(size):]
		if bytes.Equal(entry[:16], make([]byte, 16)) {
			continue
		}
		begin, end := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
		if begin > end || end > 1<<40 {
			return nil, fmt.Errorf("its partition table (GPT) is damaged: partition %d", i+1)
		}
		list = append(list, Partition{i + 1, int64(begin) * sector, int64(end-begin+1) * sector, kindOf(guid(entry))})
	}
	return list, nil
}

// guid formats a GUID. Three of its numbers are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%s-%s", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), hex.EncodeToString(b[8:10]), hex.EncodeToString(b[10:16]))
}

// mbr reads the four partitions of a boot sector.
func mbr(file io.ReaderAt) ([]Partition, error) {
	sector := make([]byte, 512)
	if _, err := file.ReadAt(sector, 0); err != nil || sector[510] != 0x55 || sector[511] != 0xaa {
		return nil, errNoTable
	}
	var list []Partition
	for i := range 4 {
		entry := sector[446+16*i:]
		if entry[0]&0x7f != 0 { // neither active nor not: other code is here
			return nil, errNoTable
		}
		if entry[4] == 0 {
			continue
		}
		p := Partition{Number: i + 1, Offset: int64(binary.LittleEndian.Uint32(entry[8:])) * 512, Size: int64(binary.LittleEndian.Uint32(entry[12:])) * 512}
		if entry[4] == mbrLinux {
			p.kind = linux
		}
		list = append(list, p)
	}
	if list == nil {
		return nil, errNoTable
	}
	return list, nil
}
