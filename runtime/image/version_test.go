package image

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestARecordThatIsWrittenIsRead(t *testing.T) {
	dir, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	written := 0
	for i, length := range []int{0, 1000, 1 << 20, maxRecord - 300, maxRecord, 2 * maxRecord} {
		r := Record{Version: i + 1, Recipe: strings.Repeat("<", length), Digest: "sha256:0"}
		if err := writeRecord(dir, r); err != nil {
			if length < maxRecord-1000 || !strings.Contains(err.Error(), "too long") {
				t.Errorf("%d bytes: %v", length, err)
			}
			continue
		}
		written++
		if got, _, err := readRecord(dir, i+1); err != nil || got.Recipe != r.Recipe {
			t.Errorf("%d bytes were written and are not read: %v", length, err)
		}
	}
	if written != 4 {
		t.Errorf("%d records were written, want 4", written)
	}
}
