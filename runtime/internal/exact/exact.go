// Package exact carries strings through JSON that are not UTF-8: names of files,
// arguments and environments are bytes, of which JSON knows nothing and encoding/json
// makes U+FFFD.
//
// A byte NN of such a string, from 80 to FF, is written as the character U+10F7NN,
// which is for private use: every decoder takes it, a lone surrogate not. Where these
// characters are in a string themselves, their bytes are written so; so no two strings
// are written alike.
package exact

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// base plus a byte is the character that stands for it.
const base = 0x10f700

// standsForByte tells whether a character is one of those.
func standsForByte(c rune) bool { return c >= base+0x80 && c <= base+0xff }

// Text is a string as UTF-8.
func Text(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, standsForByte) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		if c == utf8.RuneError && n == 1 || standsForByte(c) {
			for _, one := range []byte(s[:n]) {
				b.WriteRune(base + rune(one))
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// Bytes is the string of which Text has made this.
func Bytes(text string) string {
	if !strings.ContainsFunc(text, standsForByte) {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		if standsForByte(c) {
			b.WriteByte(byte(c - base))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// Value is a copy of a value for encoding/json, in which every string is UTF-8.
func Value(v any) any {
	if v == nil {
		return nil
	}
	return replace(reflect.ValueOf(v), Text).Interface()
}

// Marshal is json.Marshal, of any strings.
func Marshal(v any) ([]byte, error) { return json.Marshal(Value(v)) }

// Unmarshal is json.Unmarshal of what Marshal has written.
func Unmarshal(data []byte, pointer any) error {
	if err := json.Unmarshal(data, pointer); err != nil {
		return err
	}
	v := reflect.ValueOf(pointer).Elem()
	v.Set(replace(v, Bytes))
	return nil
}

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// replace is a copy with each string as f makes it. What writes itself stays as it is.
func replace(v reflect.Value, f func(string) string) reflect.Value {
	t := v.Type()
	if t.Kind() != reflect.Interface && (t.Implements(marshaler) || t.Implements(textMarshaler)) {
		return v
	}
	c := reflect.New(t).Elem()
	c.Set(v)
	switch t.Kind() {
	case reflect.String:
		c.SetString(f(v.String()))
	case reflect.Interface:
		if !v.IsNil() {
			c.Set(replace(v.Elem(), f))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(t.Elem()))
			c.Elem().Set(replace(v.Elem(), f))
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				c.Field(i).Set(replace(v.Field(i), f))
			}
		}
	case reflect.Slice:
		if !v.IsNil() && t.Elem().Kind() != reflect.Uint8 {
			c.Set(reflect.MakeSlice(t, v.Len(), v.Len()))
			replaceAll(c, v, f)
		}
	case reflect.Array:
		replaceAll(c, v, f)
	case reflect.Map:
		if !v.IsNil() {
			c.Set(reflect.MakeMapWithSize(t, v.Len()))
			for key, value := range v.Seq2() {
				c.SetMapIndex(replace(key, f), replace(value, f))
			}
		}
	}
	return c
}

// replaceAll is replace for elements.
func replaceAll(c, v reflect.Value, f func(string) string) {
	for i := range v.Len() {
		c.Index(i).Set(replace(v.Index(i), f))
	}
}
