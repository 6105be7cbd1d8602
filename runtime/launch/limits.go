package launch

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
)

// resources returns the limits of plan.ResourceLimits by OCI's names.
func resources() map[string]int {
	return map[string]int{
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC,
	}
}

// limitsOf converts the plan's resource limits. The command sets them after clone(2):
// the supervisor itself stays without them.
func limitsOf(list []specs.POSIXRlimit) ([]nsexec.Limit, error) {
	var limits []nsexec.Limit
	for _, l := range list {
		number, ok := resources()[l.Type]
		if !ok {
			return nil, fmt.Errorf("limit %s is not one that a command may have", l.Type)
		}
		limits = append(limits, nsexec.Limit{Resource: number, Rlimit: unix.Rlimit{Cur: l.Soft, Max: l.Hard}})
	}
	return limits, nil
}
