package dsc

import (
	"strings"
	"testing"
)

const signed = `-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

Format: 3.0 (quilt)
Source: hello
Binary: hello
Build-Depends: debhelper-compat (= 13),
 help2man,
	texinfo
Build-Conflicts: nothing
Files:
 16678389ba7fddcdfa05e0707d61f043 12688 hello_2.10-3.debian.tar.xz

-----BEGIN PGP SIGNATURE-----
Source: other

x
-----END PGP SIGNATURE-----
`

func TestParse(t *testing.T) {
	s, err := Parse([]byte(signed))
	if err != nil || s.Name != "hello" || strings.Join(s.Fields, "|") != "Build-Depends: debhelper-compat (= 13), help2man, texinfo|Build-Conflicts: nothing" {
		t.Errorf("%+v, %v", s, err)
	}
	again, err := Parse([]byte(s.Control()))
	if err != nil || again.Key("x") != s.Key("x") {
		t.Errorf("%+v, %v", again, err)
	}
	if s.Key("x") == s.Key("y") || s.Key("x") == (Source{Name: "hello"}).Key("x") {
		t.Error("keys do not tell sets apart")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "it is empty",
		"\n\n":                               "it is empty",
		"Package: x\n":                       "field Source is",
		"Source: ../x\n":                     "field Source is",
		"Source: x; rm\n":                    "field Source is",
		" x\n":                               "a continued line",
		"Source: x\nno field\n":              "is no field",
		"Source: x\nsource: y\n":             "is there twice",
		"\x00\x01":                           "is no field",
		strings.Repeat("x", Most+1):          "longer than",
		"-----BEGIN PGP SIGNED MESSAGE-----": "it is empty",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(signed))
	f.Add([]byte("Source: x\nBuild-Depends: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		if again, err := Parse([]byte(s.Control())); err != nil || again.Key("") != s.Key("") {
			t.Errorf("%q: %q, %v", data, s.Control(), err)
		}
	})
}
