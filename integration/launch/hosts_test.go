package launch

import (
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestAddHost(t *testing.T) {
	for _, flags := range [][]string{{}, {"--writable"}, {"--root"}} {
		args := append(append([]string{"run", "--add-host", "db:127.0.0.9", "--add-host", "localhost:127.0.0.8", "--add-host", "six:::1"}, flags...), kit.Image, "--", "cat", "/etc/hosts")
		r := kit.Run(t, args...)
		if !strings.HasPrefix(r.Out, "127.0.0.9\tdb\n127.0.0.8\tlocalhost\n::1\tsix\n") || !strings.Contains(r.Out, "\n127.0.1.1\t") || r.Code != 0 {
			t.Errorf("%q: %+v", flags, r)
		}
	}
	for _, bad := range []string{"db", ":127.0.0.1", "db:", "d b:127.0.0.1", "db:host", "db:1", "db:127.0.0.1\nx:127.0.0.1", "a\tb:::1"} {
		if r := kit.Run(t, "run", "--add-host", bad, kit.Image, "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "want NAME:ADDRESS") {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}
