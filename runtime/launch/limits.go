package launch

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
)

// resources are the limits that a plan can set, by OCI's names.
var resources = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC,
}

// limitsOf are the limits of a command. The supervisor does not live under those that a caller has for programs of
// another kind.
func limitsOf(list []specs.POSIXRlimit) ([]nsexec.Limit, error) {
	var limits []nsexec.Limit
	for _, l := range list {
		number, ok := resources[l.Type]
		if !ok {
			return nil, fmt.Errorf("limit %s is not one that a command may have", l.Type)
		}
		limits = append(limits, nsexec.Limit{Resource: number, Rlimit: unix.Rlimit{Cur: l.Soft, Max: l.Hard}})
	}
	return limits, nil
}
