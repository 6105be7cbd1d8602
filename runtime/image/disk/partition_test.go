package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// table makes the beginning of a disk with a GPT: each partition is of one MiB.
func table(sector int, types ...string) []byte {
	disk := make([]byte, (len(types)+1)<<20)
	header := disk[sector:]
	copy(header, "EFI PART")
	binary.LittleEndian.PutUint64(header[72:], 2)
	binary.LittleEndian.PutUint32(header[80:], 128)
	binary.LittleEndian.PutUint32(header[84:], 128)
	for i, kind := range types {
		entry := disk[2*sector+128*i:]
		b, _ := hex.DecodeString(strings.ReplaceAll(kind, "-", ""))
		copy(entry, []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]})
		copy(entry[8:], b[8:])
		binary.LittleEndian.PutUint64(entry[32:], uint64((i+1)<<20/sector))
		binary.LittleEndian.PutUint64(entry[40:], uint64((i+2)<<20/sector-1))
	}
	return disk
}

const (
	esp     = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	amd64   = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	i386    = "44479540-f297-41b2-9af7-d131d5f0458a"
	generic = "0fc63daf-8483-4772-8e79-3d69d8477de4"
)

func TestTheRootPartition(t *testing.T) {
	for _, c := range []struct {
		types []string
		arch  string
		want  int // number, 0: an error
	}{
		{[]string{esp, amd64}, "", 2}, {[]string{esp, i386}, "", 2}, {[]string{i386, amd64}, "", 2}, {[]string{i386, amd64}, "i386", 1},
		{[]string{esp, generic}, "", 2}, {[]string{esp, generic}, "i386", 2}, {[]string{generic, amd64}, "", 2},
		{[]string{esp}, "", 0}, {[]string{amd64, amd64}, "", 0}, {[]string{generic, generic}, "", 0}, {[]string{amd64}, "arm64", 0}, {nil, "", 0},
	} {
		for _, sector := range []int{512, 4096} {
			disk := table(sector, c.types...)
			p, err := Root(bytes.NewReader(disk), int64(len(disk)), c.arch, "amd64")
			if p.Number != c.want && err == nil || (err == nil) != (c.want != 0) {
				t.Errorf("%v for %q: %+v, %v", c.types, c.arch, p, err)
			}
			if err == nil && (p.Offset != int64(c.want)<<20 || p.Size != 1<<20) {
				t.Errorf("%v: %+v", c.types, p)
			}
		}
	}
	whole := table(512, amd64)
	if _, err := Root(bytes.NewReader(whole), 1<<20+1, "", "amd64"); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("a disk that is cut off: %v", err)
	}
}

func TestAnMBR(t *testing.T) {
	disk := make([]byte, 2<<20)
	disk[510], disk[511] = 0x55, 0xaa
	disk[446+16+4], disk[446+16+9], disk[446+16+13] = 0x83, 8, 8
	p, err := Root(bytes.NewReader(disk), int64(len(disk)), "", "amd64")
	if err != nil || p.Number != 2 || p.Offset != 1<<20 || p.Size != 1<<20 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhatIsNoDisk(t *testing.T) {
	for text, advice := range map[string]string{"": "", "QFI\xfb\x00": "qemu-img", "LUKS\xba\xbe": "cryptsetup", "hsqs": ""} {
		content := append([]byte(text), make([]byte, 4096)...)
		if Is(bytes.NewReader(content)) || !strings.Contains(Advice(bytes.NewReader(content)), advice) {
			t.Errorf("%q", text)
		}
	}
	if !strings.Contains(Advice(bytes.NewReader(table(512, amd64))), ".raw") {
		t.Error("no advice for a disk")
	}
}

// Whatever a file holds, a partition lies in it.
func FuzzRoot(f *testing.F) {
	f.Add(table(512, esp, amd64)[:16<<10], "")
	f.Add(table(4096, i386)[:64<<10], "i386")
	f.Fuzz(func(t *testing.T, disk []byte, arch string) {
		p, err := Root(bytes.NewReader(disk), int64(len(disk)), arch, "amd64")
		if err == nil && (p.Offset < 0 || p.Size <= 0 || p.Offset+p.Size > int64(len(disk)) || p.Offset+p.Size < p.Offset) {
			t.Errorf("%+v of %d", p, len(disk))
		}
	})
}
