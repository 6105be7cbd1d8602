package provenance

import (
	"fmt"
	"strings"
)

// flags are the flags of `runtime run` that tell what a build is made in. They are
// recorded, and taken from a record. All others are about a run's surroundings:
// reports, terminals, names, other users. Those of the value "" take none.
var flags = map[string]string{"bind": "v", "bind-ro": "v", "no-bind": "v", "no-host-binds": "", "tmpfs": "v", "env": "v", "env-all": "",
	"chdir": "v", "network": "v", "root": "", "root-as": "v", "personality": "v", "hostname": "v", "writable": "", "no-sync": "", "add-host": "v",
	"memory": "v", "swap": "v", "tasks": "v", "cpus": "v", "timeout": "v", "kill-after": "v", "publish": "v"}

// Flag writes a flag as a statement has it.
func Flag(name, value string) string {
	if flags[name] == "" {
		return "--" + name
	}
	return "--" + name + "=" + value
}

// checkFlags refuses what Flag has not written.
func checkFlags(list []string) error {
	for _, text := range list {
		name, _, valued := strings.Cut(strings.TrimPrefix(text, "--"), "=")
		kind, known := flags[name]
		if !strings.HasPrefix(text, "--") || !known || valued != (kind != "") || strings.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("flag %q: none that is recorded", text)
		}
	}
	return nil
}
