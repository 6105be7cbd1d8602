package runtime

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// resources are the limits that a plan can set, by OCI's names.
var resources = [...]struct {
	name   string
	number int
}{
	{"RLIMIT_AS", unix.RLIMIT_AS}, {"RLIMIT_DATA", unix.RLIMIT_DATA},
	{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE}, {"RLIMIT_NPROC", unix.RLIMIT_NPROC},
}

// setLimits sets soft limits, for a command about to be started, or raises them to the
// hard ones: limits belong to the process, and the supervisor shall not live under
// those that a caller has for programs of another kind. Hard limits stay as they are.
func setLimits(list []specs.POSIXRlimit, raise bool) error {
	for _, l := range list {
		soft := l.Soft
		if raise {
			soft = l.Hard
		}
		for _, r := range resources {
			if r.name != l.Type {
				continue
			}
			if err := unix.Setrlimit(r.number, &unix.Rlimit{Cur: soft, Max: l.Hard}); err != nil {
				return fmt.Errorf("set %s to %d: %w", l.Type, soft, err)
			}
		}
	}
	return nil
}
