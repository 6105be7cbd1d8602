package mount

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestMountinfoIsDecoded(t *testing.T) {
	list, err := ParseInfo("36 35 98:0 / /mnt rw,noatime master:1 shared:2 - ext3 /dev/root rw\n" +
		"37 36 0:40 /a\\040b //x\\011y\\012z\\134040\\043 ro - proc proc rw\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Info{{36, 35, "98:0", "/", "/mnt", "ext3", "rw"}, {37, 36, "0:40", "/a b", "//x\ty\nz\\040#", "proc", "rw"}}
	if len(list) != len(want) || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("%+v, want %+v", list, want)
	}
	for _, bad := range []string{"\n", "x", "36 35 98:0 / /mnt rw ext3 /dev/root rw\n", "x 35 98:0 / /mnt rw - ext3 none rw\n", "36 35 98:0 /mnt rw - ext3 none rw\n", "36 35 98:0 / /mnt rw - ext3\n"} {
		if list, err := ParseInfo(bad); err == nil {
			t.Errorf("%q: %v", bad, list)
		}
	}
}

func TestTheKernelsOwnMountinfoIsRead(t *testing.T) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseInfo(string(text))
	if err != nil || len(list) != strings.Count(string(text), "\n") || len(list) == 0 {
		t.Errorf("%d mounts, %v", len(list), err)
	}
}

// escape is what the kernel does (fs/proc_namespace.c, mangle).
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(" \t\n\\#", c) >= 0 {
			fmt.Fprintf(&b, "\\%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func FuzzParseInfo(f *testing.F) {
	for _, name := range []string{"", "a b", `\040`, "x - proc y", "\xff\n"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		_, _ = ParseInfo(name)
		name = "/" + name
		list, err := ParseInfo("1 2 3:4 " + escape(name) + " " + escape(name) + " rw - proc none rw\n")
		if err != nil || len(list) != 1 || list[0].Root != name || list[0].Point != name || list[0].Type != "proc" {
			t.Errorf("%q: %+v, %v", name, list, err)
		}
	})
}
