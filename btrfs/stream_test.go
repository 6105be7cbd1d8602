package btrfs

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// header, one command of type chmod without attributes, end.
var sent = streamMagic + "\x01\x00\x00\x00" + command(18) + command(cmdEnd)

func command(kind byte) string { return string([]byte{0, 0, 0, 0, kind, 0, 1, 2, 3, 4}) }

func TestAStreamEndsWithTheTimesOfTheTopDirectory(t *testing.T) {
	top := unix.Stat_t{Atim: unix.Timespec{Sec: 1, Nsec: 2}, Mtim: unix.Timespec{Sec: 3, Nsec: 4}, Ctim: unix.Timespec{Sec: 5, Nsec: 6}}
	var out bytes.Buffer
	if err := CopyStream(&out, strings.NewReader(sent), top); err != nil {
		t.Fatal(err)
	}
	added := string(utimes(top))
	if want := strings.TrimSuffix(sent, command(cmdEnd)) + added + command(cmdEnd); out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if length := binary.LittleEndian.Uint32([]byte(added)); int(length) != len(added)-commandHeader || length != 4+3*16 {
		t.Errorf("%d of %d bytes", length, len(added))
	}
}

func TestAStreamThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"", "x", streamMagic, streamMagic + "\x02\x00\x00\x00", sent[:len(sent)-1], sent[:len(sent)-10],
		sent[:streamHeader] + "\xff\xff\xff\xff\x12\x00\x00\x00\x00\x00"} {
		if err := CopyStream(&bytes.Buffer{}, strings.NewReader(text), unix.Stat_t{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
