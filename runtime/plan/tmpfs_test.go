package plan

import (
	"strings"
	"testing"
)

func TestTmpfsOptions(t *testing.T) {
	for _, option := range []string{"size=1", "size=64m", "size=1T", "size=50%", "size=100%", "nr_inodes=10k", "mode=0700", "mode=1777", "uid=0", "gid=1000", "ro", "noexec", "nosymfollow", "noatime"} {
		if _, err := ParseTmpfs("/x:" + option); err != nil {
			t.Error(err)
		}
	}
	for option, complaint := range map[string]string{
		"size=0": "no limit", "size=00k": "no limit", "nr_inodes=0": "no limit", "size=0%": "1% to 100%", "size=101%": "1% to 100%", "size=200%": "1% to 100%", "size": "want size=", "size=": "a number",
		"size=-1": "a number", "size=0x10": "a number", "size=1mm": "a number", "size=m": "a number", "size=9223372036854775807k": "a number", "size=18446744073709551616": "a number", "nr_inodes=5%": "a number",
		"noswap": "want size=", "huge=always": "want size=", "mpol=local": "want size=", "nr_blocks=0": "want size=", "usrquota": "want size=", "inode32": "want size=", "bind": "want size=", "rslave": "want size=",
		"mode=8": "octal mode, up to 7777", "mode=9": "octal mode", "mode=77777": "octal mode", "mode=01777777": "octal mode", "mode=": "octal mode", "mode=0o755": "octal mode",
		"uid=-1": "a number from 0", "uid=4294967295": "to 2147483647", "gid=x": "a number from 0", "gid=": "a number from 0", "": "want size=", "size=1k,,": "want size=", "source=x": "want size=", "suid": "always nosuid and nodev", "dev": "always nosuid and nodev", "size=16777216T": "a number", "size=1P": "a number",
	} {
		if _, err := ParseTmpfs("/x:ro," + option); err == nil || !strings.Contains(err.Error(), complaint) || !strings.HasPrefix(err.Error(), "--tmpfs \"/x:") {
			t.Errorf("%q: %v, want a complaint with %q", option, err, complaint)
		}
	}
	if _, err := ParseTmpfs("/x:"); err == nil {
		t.Error("no option after a colon is accepted")
	}
}

func TestTmpfsIsBoundedByHalfOfTheMemory(t *testing.T) {
	const memory = 8 << 30
	for option, most := range map[string]bool{
		"size=4G": true, "size=4097M": false, "size=50%": true, "size=51%": false, "size=1T": false, "nr_inodes=1024k": true, "nr_inodes=1025k": false, "nr_inodes=1G": false, "mode=0777": true,
	} {
		if err := (Tmpfs{"/x", []string{"ro", option}}).CheckSize(memory); (err == nil) != most {
			t.Errorf("%s: %v", option, err)
		}
	}
}
