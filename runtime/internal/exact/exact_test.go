package exact

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"
)

type inner struct {
	Name string `json:"name"`
}

type outer struct {
	Args  []string       `json:"args"`
	Bytes []byte         `json:"bytes"`
	Map   map[string]any `json:"map"`
	Link  *inner         `json:"link"`
	Two   [2]string      `json:"two"`
	None  *inner         `json:"none"`
	Any   any            `json:"any"`
	When  time.Time      `json:"when"`
}

func TestEveryStringComesBack(t *testing.T) {
	v := outer{Args: []string{"caf\xe9", "", "\xff\x80a", "\U0010f7e9", "ü\xed\xa0\x80"}, Bytes: []byte{0xff, 0},
		Map: map[string]any{"k\xe9": []any{"v\xe9", 1.5, nil}}, Link: &inner{"l\xe9"}, Two: [2]string{"\xfe", "b"},
		Any: "a\xe9", When: time.Unix(1, 0).UTC()}
	data, err := Marshal(v)
	if err != nil || !utf8.Valid(data) {
		t.Fatalf("%q, %v", data, err)
	}
	var got outer
	if err := Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v, %v\nwant %+v", got, err, v)
	}
	if v.Args[0] != "caf\xe9" || v.Link.Name != "l\xe9" {
		t.Error("the value itself was changed")
	}
}

func TestWhatIsUTF8IsWrittenAsEver(t *testing.T) {
	v := map[string]any{"a": []string{"ü\\xe9\ufffd\n", "\U0010ffff"}, "b": nil}
	want, _ := json.Marshal(v)
	if got, err := Marshal(v); err != nil || string(got) != string(want) {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := Marshal(nil); err != nil || string(got) != "null" {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\xe9", "\U0010f7e9\xe9", "\xf4\x8f\x9f", "\xed\xb3\xa9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := Text(s)
		if !utf8.ValidString(text) || Bytes(text) != s {
			t.Errorf("%q is written as %q, and read as %q", s, text, Bytes(text))
		}
	})
}
