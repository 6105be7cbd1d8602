package console

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What a reader of JSON gets is what it gets of package encoding/json.
func FuzzQuote(f *testing.F) {
	for _, text := range []string{"", "plain text of more than eight bytes", "\x00\x01\x1b[1m\"\\\b\f\n\r\t\x7f", "grün €𝄞 <&>\u2028", "\xff\xe2\x82 \xc0\x80\xed\xa0\x80",
		"1234567\"12345678", "\x1f234567 \x80 234567"} {
		f.Add([]byte(text))
	}
	q := newQuoter()
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want string
		quoted := q.append([]byte("before"), data)
		if !bytes.HasPrefix(quoted, []byte("before")) || json.Unmarshal(quoted[6:], &got) != nil {
			t.Fatalf("%q is %q", data, quoted)
		}
		other, err := json.Marshal(string(data))
		if err == nil {
			err = json.Unmarshal(other, &want)
		}
		if err != nil || got != want {
			t.Errorf("%q is %q, want %q: %v", data, got, want, err)
		}
	})
}

func TestEachByteIsQuoted(t *testing.T) {
	q := newQuoter()
	for c := range 256 {
		for at := range 20 { // wherever it stands among eight
			data := bytes.Repeat([]byte("x"), 20)
			data[at] = byte(c)
			var got string
			if err := json.Unmarshal(q.append(nil, data), &got); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			if want := string(bytes.ToValidUTF8(data, []byte("\ufffd"))); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	}
}

func BenchmarkQuote(b *testing.B) {
	q := newQuoter()
	for name, text := range map[string]string{"zeroes": "\x00\x00\x00\x00", "lines": "cc -O2 -Wall -c -o build/main.o source/main.c\n", "accents": "Gebäude für die Prüfung\n"} {
		b.Run(name, func(b *testing.B) {
			data := bytes.Repeat([]byte(text), 1<<16/len(text))
			var line []byte
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				line = q.append(line[:0], data)
			}
		})
	}
}
