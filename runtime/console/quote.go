package console

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// A quoter writes strings of JSON. Package encoding/json takes many times as long,
// since it looks at types and escapes HTML: with it the recording slowed the command
// down.
type quoter [utf8.RuneSelf]escaped

// An escaped is what a byte of ASCII becomes. One of size 0 stands for the byte itself.
type escaped struct {
	text uint64 // eight bytes, for one store; the first size of them count
	size int
}

// longest is the size of the longest escape, such as \u001b.
const longest = 6

func newQuoter() *quoter {
	var q quoter
	for c := range byte(' ') {
		q[c].set([]byte{'\\', 'u', '0', '0', '0' + c>>4, "0123456789abcdef"[c&15]})
	}
	for c, letter := range map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'} {
		q[c].set([]byte{'\\', letter})
	}
	return &q
}

func (e *escaped) set(text []byte) {
	var word [8]byte
	e.size = copy(word[:], text)
	e.text = binary.LittleEndian.Uint64(word[:])
}

// append appends data as a string. Each byte that is not UTF-8 becomes U+FFFD, as with
// package encoding/json.
func (q *quoter) append(line, data []byte) []byte {
	line = slices.Grow(line, longest*len(data)+len(`""`)+8)
	line = append(line, '"')
	for len(data) > 0 {
		n := q.plain(data)
		line = append(line, data[:n]...)
		line, data = q.escape(line, data[n:])
		if len(data) > 0 && data[0] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(data)
			line = utf8.AppendRune(line, r)
			data = data[size:]
		}
	}
	return append(line, '"')
}

// escape appends the bytes at the beginning of data that do not stand for themselves,
// and returns the rest. The line must have room for them.
func (q *quoter) escape(line, data []byte) (longer, rest []byte) {
	at, room := len(line), line[:cap(line)]
	for i, c := range data {
		if c >= utf8.RuneSelf || q[c].size == 0 {
			return room[:at], data[i:]
		}
		binary.LittleEndian.PutUint64(room[at:], q[c].text)
		at += q[c].size
	}
	return room[:at], nil
}

// plain counts the bytes at the beginning of data that stand for themselves.
func (q *quoter) plain(data []byte) int {
	n := 0
	for len(data)-n >= 8 && !hasEscape(binary.LittleEndian.Uint64(data[n:])) {
		n += 8
	}
	for n < len(data) && data[n] < utf8.RuneSelf && q[data[n]].size == 0 {
		n++
	}
	return n
}

// hasEscape tells whether one of eight bytes does not stand for itself. It subtracts in
// all bytes at once: that sets the highest bit of each byte that is less, and sometimes
// of a byte beside such a one.
func hasEscape(eight uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quotes, backslashes := eight^('"'*ones), eight^('\\'*ones)
	return (eight|(eight-' '*ones)|(quotes-ones)|(backslashes-ones))&high != 0
}
