package attack

import (
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// A tmpfs of the caller's is bounded, whatever they ask for.
func TestC46Tmpfs(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, option := range []string{"size=0", "size=0k", "size=0%", "nr_inodes=0", "noswap", "size=51%", "size=101%", "size=9223372036854775807", "size=1000T", "nr_inodes=1T", "huge=always", "mpol=local", "nr_blocks=0", "size=0x0", "dev", "suid"} {
			r := w.run(t, "run", "--tmpfs", "/mnt:"+option, kit.Image, "sh", "-c", "grep ' /mnt ' /proc/self/mountinfo")
			refused(t, option, r, "option")
		}
		r := w.run(t, "run", "--tmpfs", "/mnt:rw,exec", kit.Image, "sh", "-c", "grep ' /mnt ' /proc/self/mountinfo")
		if r.Code != 0 || !strings.Contains(r.Out, "nosuid,nodev") {
			t.Errorf("rw,exec: %+v", r)
		}
		r = w.run(t, "run", "--tmpfs", "/mnt:size=50%,nr_inodes=10", kit.Image, "sh", "-c", "cd /mnt; i=0; while [ $i -lt 20 ] && touch $i 2>/dev/null; do i=$((i + 1)); done; echo $i")
		if r.Code != 0 || r.Out != "9\n" {
			t.Errorf("ten inodes: %+v", r)
		}
	})
}
