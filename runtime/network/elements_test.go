package network

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel wants, from linux/netfilter/nf_tables.h and nfnetlink.h.
func TestAnElementIsChangedInABatchOfThreeMessages(t *testing.T) {
	n16 := func(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
	n32 := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	attribute := func(kind uint16, value ...[]byte) []byte {
		content := bytes.Join(value, nil)
		a := bytes.Join([][]byte{n16(uint16(4 + len(content))), n16(kind), content}, nil)
		return append(a, make([]byte, -len(a)&3)...)
	}
	const nested = 0x8000
	element := bytes.Join([][]byte{
		{2, 0, 0, 0}, // AF_INET
		attribute(1, []byte("mayfly\x00")),
		attribute(2, []byte("owners\x00")),
		attribute(3|nested, attribute(1|nested, attribute(1|nested, attribute(1, []byte{10, 87, 1, 2}, n32(1000))))),
	}, nil)
	bracket := []byte{0, 0, 0, 10}

	for what, kind := range map[int]uint16{unix.NFT_MSG_NEWSETELEM: 0x0a0c, unix.NFT_MSG_DELSETELEM: 0x0a0e} {
		batch, asked := ownerBatch(what, 10<<24|87<<16|1<<8|2, 1000)
		messages, err := syscall.ParseNetlinkMessage(batch)
		if err != nil || len(messages) != 3 {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		for i, want := range []struct {
			kind, flags uint16
			data        []byte
		}{
			{0x10, 0x1, bracket},   // REQUEST
			{kind, 0x405, element}, // REQUEST, ACK, CREATE
			{0x11, 0x1, bracket},
		} {
			m := messages[i]
			if m.Header.Type != want.kind || m.Header.Flags != want.flags || !bytes.Equal(m.Data, want.data) {
				t.Errorf("message %d is %+v % x, want %+v", i, m.Header, m.Data, want)
			}
			if (m.Header.Seq == asked) != (i == 1) {
				t.Errorf("message %d has the number %d, %d is acknowledged", i, m.Header.Seq, asked)
			}
		}
	}
}
