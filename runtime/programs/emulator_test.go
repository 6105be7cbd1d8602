package programs

import (
	"os"
	"path/filepath"
	"testing"

	"mayfly/personality/arch"
)

const qemuArm64 = `enabled
interpreter /usr/bin/qemu-aarch64-static
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`

func TestWhichProgramRunsOthers(t *testing.T) {
	arm64, _ := arch.ByName("arm64")
	amd64, _ := arch.ByName("amd64")
	r, ok := parseRegistration(qemuArm64)
	for arch, want := range map[arch.Architecture]bool{arm64: true, amd64: false} {
		if header := arch.Header(); !ok || r.runs(header[:]) != want || !r.fixed || r.interpreter != "/usr/bin/qemu-aarch64-static" {
			t.Errorf("%s: %+v", arch.Name, r)
		}
	}
	for _, bad := range []string{"", "disabled\ninterpreter /x\nflags: \noffset 0\nmagic 7f\n", "enabled\ninterpreter /x\nflags: \nextension .exe\n",
		"enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7\n", "enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7f\nmask ffff\n", "enabled\ninterpreter /x\noffset -1\nmagic 7f\n"} {
		if r, ok := parseRegistration(bad); ok {
			t.Errorf("%q is %+v", bad, r)
		}
	}
	dir := t.TempDir()
	if _, told := Registrations(dir); told {
		t.Error("a directory where nothing is mounted tells something")
	}
	for name, text := range map[string]string{"status": "enabled\n", "register": "", "qemu-aarch64": qemuArm64} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list, told := Registrations(dir); !told || len(list) != 1 {
		t.Errorf("%v, %v", list, told)
	}
}
