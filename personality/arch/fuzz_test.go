package arch

import "testing"

// Whatever a file begins with, it is a program for a known machine or an error.
func FuzzOfProgram(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00\x01\x00\x00\x00"))
	f.Add([]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x03\x00\x01\x00\x00\x00"))
	f.Add([]byte("\x7fELF\x01\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00\x00\x00\x01"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		arch, err := OfProgram(header)
		if err != nil {
			return
		}
		if len(header) < 20 || string(header[:4]) != "\x7fELF" {
			t.Errorf("%q is a program for %s", header, arch.Name)
		}
		if named, err := ByName(arch.Name); err != nil || named != arch {
			t.Errorf("%s is %v, %v", arch.Name, named, err)
		}
	})
}
