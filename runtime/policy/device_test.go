package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckLooksForDevices(t *testing.T) {
	for device, want := range map[string]string{
		"/dev/null":        "",
		"/dev/nosuch":      "",
		"/dev/pts":         "policy.toml:3: devices: /dev/pts is a directory: the policy has to name the device nodes in it",
		"/dev/stdin":       "policy.toml:3: devices: /dev/stdin is a symbolic link: the policy has to name",
		"/dev/nosuch/none": "",
	} {
		name := filepath.Join(t.TempDir(), "policy.toml")
		text := "[[rule]]\nimages = [\"*\"]\ndevices = [\"/dev/zero\", \"" + device + "\"]\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := Check(name)
		if want == "" && (err != nil || rules != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %d rules, %v, want %q", device, rules, err, want)
		}
	}
}
