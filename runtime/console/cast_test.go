package console

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestACastKeepsCharactersWhole(t *testing.T) {
	var b bytes.Buffer
	c := NewCast(&b, 80, 24, "sh")
	text := "grün €\x1b[1m𝄞\r\n"
	for i := range len(text) {
		c.Output([]byte{text[i]})
	}
	c.Resize(100, 30)
	c.Output([]byte{0xff, 'x', 0xe2, 0x82}) // no UTF-8, and a character that never ends
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(&b)
	lines.Scan()
	var head struct{ Version, Width, Height int }
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil || head.Version != 2 || head.Width != 80 || head.Height != 24 {
		t.Errorf("%+v, %v", head, err)
	}
	shown, resized := "", ""
	for lines.Scan() {
		var event []any
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || len(event) != 3 {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if event[1] == "o" {
			shown += event[2].(string)
		} else {
			resized += event[2].(string)
		}
	}
	if shown != text+"\ufffdx\ufffd\ufffd" && shown != text+"\ufffdx\ufffd" || resized != "100x30" {
		t.Errorf("%q %q", shown, resized)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestACastTellsThatItCouldNotBeWritten(t *testing.T) {
	c := NewCast(full{}, 1, 1, "")
	c.Output([]byte("x"))
	if c.Close() == nil {
		t.Error("no error")
	}
}
