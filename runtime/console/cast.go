package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"mayfly/runtime/internal/exact"
)

// A Cast is a recording of what a terminal showed, in the format asciicast v2: a line
// of JSON that describes the terminal, and a line for each event. Several goroutines
// may use it. (https://docs.asciinema.org/manual/asciicast/v2/)
type Cast struct {
	mu    sync.Mutex
	w     io.Writer
	began time.Time
	quote *quoter
	text  []byte // the line before: the next one takes its memory
	rest  []byte // the beginning of a character whose end has not come yet
	err   error
}

// NewCast begins the recording of a terminal whose size is given in characters. The
// writer stays the caller's.
func NewCast(w io.Writer, width, height int, command string) *Cast {
	c := &Cast{w: w, began: time.Now(), quote: newQuoter()}
	head, err := json.Marshal(map[string]any{"version": 2, "width": width, "height": height, "timestamp": c.began.Unix(), "command": exact.Text(command)})
	c.err = err
	c.write(append(head, '\n'))
	return c
}

// Output records what the terminal has shown.
func (c *Cast) Output(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rest) > 0 {
		data = append(c.rest, data...)
	}
	whole := len(data) - unfinished(data)
	c.rest = append([]byte(nil), data[whole:]...)
	if whole > 0 {
		c.event('o', data[:whole])
	}
}

// unfinished counts the bytes at the end that begin a character and do not end it.
func unfinished(text []byte) int {
	for n := 1; n <= min(utf8.UTFMax-1, len(text)); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// Resize records that the terminal has another size now, in characters.
func (c *Cast) Resize(width, height int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event('r', fmt.Appendf(nil, "%dx%d", width, height))
}

// Close ends the recording and returns its first error. It does not close the writer.
func (c *Cast) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rest) > 0 {
		c.event('o', c.rest)
	}
	return c.err
}

// event writes [SECONDS, "o", "what was shown"].
func (c *Cast) event(kind byte, data []byte) {
	line := strconv.AppendFloat(append(c.text[:0], '['), time.Since(c.began).Seconds(), 'f', -1, 64)
	line = c.quote.append(append(line, ',', '"', kind, '"', ','), data)
	c.text = append(line, ']', '\n')
	c.write(c.text)
}

func (c *Cast) write(line []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(line)
	}
}
