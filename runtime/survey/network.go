package survey

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"mayfly/runtime/client"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// findJoined finds the container whose network is to be shared.
func (f *finder) findJoined(r plan.Request, database *user.Database) error {
	name, joins := strings.CutPrefix(r.Network, plan.JoinPrefix)
	if !joins {
		return nil
	}
	which, err := client.SplitOwner(database, f.Caller, name)
	if err != nil {
		return fmt.Errorf("--network %s: %w", r.Network, err)
	}
	err = privilege.AsRoot(f.here, privilege.None, func() error {
		record, err := which.Find(f.here)
		f.Neighbour = plan.Neighbour{Name: record.Name, UID: record.UID, Network: record.Network}
		return err
	})
	if errors.Is(err, state.ErrUnknown) {
		err = fmt.Errorf("%w; `runtime ps` lists yours", client.ErrNoContainer)
	}
	if err != nil {
		return fmt.Errorf("--network %s: %w", r.Network, err)
	}
	return nil
}

// resolvers are the files that name the host's name servers. Where the first names only
// systemd-resolved itself, on the loopback interface, the second names its servers.
var resolvers = []string{plan.ResolvConf, "/run/systemd/resolve/resolv.conf"}

// nameServers returns a resolv.conf without servers on the host's loopback interface,
// which a private network does not reach.
func nameServers() string {
	var none string
	for _, name := range resolvers {
		text, err := file.Read(name, maxHosts)
		if err != nil {
			continue
		}
		kept, servers := withoutLoopback(string(text))
		if servers > 0 {
			return kept
		}
		if none == "" {
			none = kept
		}
	}
	return none
}

// withoutLoopback removes name servers at loopback addresses, and counts the others.
func withoutLoopback(text string) (kept string, servers int) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "nameserver" {
			if a, err := netip.ParseAddr(fields[1]); err == nil && a.Unmap().WithZone("").IsLoopback() {
				continue
			}
			servers++
		}
		b.WriteString(line)
	}
	return b.String(), servers
}
