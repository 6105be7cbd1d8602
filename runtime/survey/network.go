package survey

import (
	"errors"
	"fmt"
	"strings"

	"mayfly/runtime/client"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// findJoined finds the container whose network is to be joined.
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

// resolvers are where the names of the host's own name servers are: what systemd-resolved asks stands in the second, where the first names only itself.
var resolvers = []string{plan.ResolvConf, "/run/systemd/resolve/resolv.conf"}

// nameServers is a resolv.conf without servers on the host's loopback interface, which is another one in a private network.
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

// withoutLoopback leaves out the name servers that are at a loopback address, and counts the others.
func withoutLoopback(text string) (kept string, servers int) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "nameserver" {
			if strings.HasPrefix(fields[1], "127.") || fields[1] == "::1" {
				continue
			}
			servers++
		}
		b.WriteString(line)
	}
	return b.String(), servers
}
