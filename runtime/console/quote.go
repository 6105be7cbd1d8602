package console

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// A quoter writes strings of JSON. Package encoding/json, which has to look at types
// and to keep HTML whole, takes many times as long, and a recording held back what was
// recorded.
type quoter [utf8.RuneSelf]escaped

// An escaped is what a byte of ASCII becomes; of size 0: itself.
type escaped struct {
	text uint64 // eight bytes, which are one store, and of which the first size count
	size int
}

// longest is the size of what a byte becomes: \u001b.
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

// append appends data as a string. What is not UTF-8 is U+FFFD there, byte by byte, as
// with package encoding/json.
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

// escape appends what begins data and does not stand for itself. There is room for it.
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

// plain is how many bytes stand for themselves at the beginning.
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

// hasEscape tells whether one of eight bytes does not stand for itself. (A subtraction
// in all bytes at once sets the highest bit of each that is less, and of some beside
// it.)
func hasEscape(eight uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quotes, backslashes := eight^('"'*ones), eight^('\\'*ones)
	return (eight|(eight-' '*ones)|(quotes-ones)|(backslashes-ones))&high != 0
}
