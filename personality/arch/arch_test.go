package arch

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func header(class, data byte, machine uint16) []byte {
	h := make([]byte, 20)
	copy(h, "\x7fELF")
	h[4], h[5] = class, data
	if data == 2 {
		h[18], h[19] = byte(machine>>8), byte(machine)
	} else {
		h[18], h[19] = byte(machine), byte(machine>>8)
	}
	return h
}

func TestOfProgram(t *testing.T) {
	for _, c := range []struct {
		header []byte
		want   string
	}{
		{header(1, 1, 3), "x86"}, {header(2, 1, 62), "x86-64"}, {header(1, 1, 40), "arm"}, {header(2, 1, 183), "arm64"},
		{header(2, 2, 22), ""}, {[]byte("#!/bin/sh\n long enough to read"), ""}, {[]byte("\x7fELF"), ""}, {nil, ""},
	} {
		got, err := OfProgram(c.header)
		if got.Name != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.header, got.Name, err)
		}
	}
	if self, err := os.ReadFile("/proc/self/exe"); err == nil {
		if _, err := OfProgram(self); err != nil {
			t.Error(err)
		}
	}
}

func TestRunsOn(t *testing.T) {
	get := func(name string) Architecture {
		a, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, c := range []struct {
		program, host string
		want          bool
	}{{"i386", "amd64", true}, {"amd64", "i386", false}, {"arm", "amd64", false}, {"armhf", "aarch64", true}, {"arm64", "arm64", true}} {
		if got := get(c.program).RunsOn(get(c.host)); got != c.want {
			t.Errorf("%s on %s: %v", c.program, c.host, got)
		}
	}
	if _, err := ByName("vax"); err == nil {
		t.Error("vax is known")
	}
}

func TestAnArchitectureIsKnownByAllOfItsNamesAndItsHeader(t *testing.T) {
	names := Names()
	if len(names) != len(architectures) || !slices.IsSorted(names) {
		t.Errorf("%q", names)
	}
	for _, name := range names {
		a, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{a.Debian, a.Machine} {
			if b, err := ByName(other); err != nil || b != a {
				t.Errorf("%s is %s, %v; want %s", other, b.Name, err, name)
			}
		}
		h := a.Header()
		if b, err := OfProgram(h[:]); err != nil || b != a {
			t.Errorf("the header of %s is that of %s, %v", name, b.Name, err)
		}
		if bits := 32 * int(h[4]); (bits == 32) != (a.Domain == Linux32) {
			t.Errorf("programs for %s have %d bits", name, bits)
		}
		if !a.RunsOn(a) {
			t.Errorf("programs for %s do not run on it", name)
		}
	}
	for _, err := range []error{second(ByName("vax")), second(OfProgram(header(2, 1, 22)))} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%v, want ErrUnknown", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
