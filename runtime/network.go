package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/control"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/network"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// joinPrefix begins what a container can have besides the networks that a rule names: that of another container of the same owner.
const joinPrefix = "join:"

// interfacePrefix begins what only root can have: an interface of the host's, moved into a network of the container's own.
const (
	interfacePrefix  = "interface:"
	networkInterface = "interface"
)

// Joined is a container whose network another one shares.
type Joined struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"` // of the owner
}

// network is what is asked for, or the first that the rule names.
func (f *Facts) network(r Request) string {
	switch {
	case r.Network != "":
		return r.Network
	case f.Policy.Unbound:
		return rule.NetworkHost
	case len(f.Policy.Network) == 0:
		return ""
	}
	return f.Policy.Network[0]
}

// private tells whether the container's network leads outside, or may, and is not the host's.
func (f *Facts) private(r Request) bool {
	wanted := f.network(r)
	return wanted == rule.NetworkPrivate || f.Joined.Network == rule.NetworkPrivate || strings.HasPrefix(wanted, interfacePrefix)
}

// network decides which network the container has: what is asked for, or the first that the rule names.
func (p *Plan) network(r Request, f Facts) error {
	p.Network = f.network(r)
	allowed := f.Policy.Network
	if f.Policy.Unbound {
		allowed = rule.Networks
	}
	if p.Network == "" {
		return fmt.Errorf("%w: the rule at %s names no network", rule.ErrDenied, f.Policy.Place())
	}
	mode, joins := p.Network, strings.HasPrefix(p.Network, joinPrefix)
	if joins {
		mode = f.Joined.Network
	}
	device, takes := strings.CutPrefix(p.Network, interfacePrefix)
	if takes {
		mode = networkInterface
	}
	if f.Caller.UID == 0 {
		allowed = append(slices.Clone(allowed), networkInterface)
	}
	switch {
	case takes && f.Caller.UID != 0:
		return fmt.Errorf("--network %s: %w", p.Network, ErrNotPermitted)
	case takes && (device == "" || len(device) >= unix.IFNAMSIZ):
		return fmt.Errorf("--network %s: want the name of an interface, `ip link` lists them", p.Network)
	case joins && mode == "":
		return fmt.Errorf("--network %s: that container has no network of its own", p.Network)
	case mode != networkInterface && !slices.Contains(rule.Networks, mode):
		return fmt.Errorf("network %q: want host, none, private, join:NAME or, for root, interface:IF", p.Network)
	case !slices.Contains(allowed, mode):
		return fmt.Errorf("--network %s: %w: the rule at %s does not let you", p.Network, rule.ErrDenied, f.Policy.Place())
	case len(r.Publish) > 0 && p.Network != rule.NetworkPrivate:
		return errors.New("--publish needs --network private: on the host's network a port is published by listening at it")
	case mode == rule.NetworkHost:
		return nil
	}
	if f.Own && (joins || mode == rule.NetworkPrivate) {
		return fmt.Errorf("--network %s: %w", p.Network, ErrNoGrant)
	}
	p.Publish, p.NetworkRange = r.Publish, f.Policy.NetworkRange
	p.NetworkMode = mode
	if joins {
		p.Join = &Joined{f.Joined.Name, f.Joined.UID}
	}
	p.Spec.Linux.Namespaces = append(p.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	return nil
}

// findJoined finds the container whose network is to be joined.
func (f *Facts) findJoined(r Request, database *user.Database) error {
	name, joins := strings.CutPrefix(r.Network, joinPrefix)
	if !joins {
		return nil
	}
	which, err := splitOwner(database, f.Caller, name)
	if err != nil {
		return fmt.Errorf("--network %s: %w", r.Network, err)
	}
	err = asRoot(f.Caller, noCapability, func() error {
		f.Joined, err = which.find()
		return err
	})
	if errors.Is(err, state.ErrUnknown) {
		err = fmt.Errorf("%w; `runtime ps` lists yours", ErrNoContainer)
	}
	if err != nil {
		return fmt.Errorf("--network %s: %w", r.Network, err)
	}
	return nil
}

// makeNetwork makes the container's network, or gets that of another one.
func (l *launch) makeNetwork() error {
	if l.plan.NetworkMode == "" {
		return nil
	}
	var fd int
	var err error
	if l.plan.Join != nil {
		fd, l.lease, err = joinedNetwork(*l.plan.Join, l.caller)
	} else {
		fd, err = nsexec.NewNetwork()
	}
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: this machine allows no more of them, see user.max_net_namespaces and user.max_user_namespaces in sysctl", err)
	}
	if err != nil {
		return err
	}
	l.netns = os.NewFile(uintptr(fd), "network")
	if device, takes := strings.CutPrefix(l.plan.Network, interfacePrefix); takes {
		return raise(NetworkCapabilities, func() error {
			l.device, err = network.Take(device, fd)
			return err
		})
	}
	if l.plan.Network == rule.NetworkPrivate {
		return l.connectNetwork()
	}
	return nil
}

// connectNetwork gives the network an address, and a way outside.
func (l *launch) connectNetwork() error {
	if err := checkNetwork(); err != nil {
		return err
	}
	// Who has an address counts as a container: launches that are stopped, or refused, before
	// they are recorded could take all.
	if err := l.root.awaitRecord(); err != nil {
		return err
	}
	addresses, err := network.ParseRange(l.plan.NetworkRange)
	if err != nil {
		return err
	}
	if l.lease, err = network.Claim(addresses, l.plan.Container, l.caller.UID); err != nil {
		return err
	}
	return raise(NetworkCapabilities, func() error { return l.lease.Connect(int(l.netns.Fd())) })
}

// enterNetwork moves the thread there, and sets up the container's end.
func (l *launch) enterNetwork() error {
	if l.netns == nil {
		return nil
	}
	err := nsexec.EnterNetwork(int(l.netns.Fd()))
	if err == nil && l.device != nil {
		return raise(NetworkCapabilities, l.device.Configure)
	}
	if err != nil || l.plan.Network != rule.NetworkPrivate {
		return err
	}
	return raise(NetworkCapabilities, l.lease.Configure)
}

// releaseNetwork gives the address back.
func (l *launch) releaseNetwork() error {
	if l.lease == nil {
		return nil
	}
	return asRoot(l.caller, NetworkCapabilities, l.lease.Release)
}

// joinedNetwork asks another container's supervisor for its network. The thread must act on files as root.
func joinedNetwork(other Joined, c Caller) (int, *network.Lease, error) {
	l := &Line{caller: c}
	if err := l.dial(ownedName{owner: other.UID, name: other.Name}); err != nil {
		return -1, nil, fmt.Errorf("call the supervisor of %s: %w", other.Name, err)
	}
	defer l.Close()
	r, files, err := l.ask(control.Request{Network: true}, replyWithin)
	switch {
	case err != nil:
		return -1, nil, err
	case len(files) == 1 && r.Address == 0:
		return files[0], nil, nil
	case len(files) == 2 && r.Address != 0:
		return files[0], network.Held(network.Address(r.Address), os.NewFile(uintptr(files[1]), "lease")), nil
	}
	file.CloseAll(files)
	return -1, nil, fmt.Errorf("container %s: its supervisor sent no network", other.Name)
}

// sendNetwork gives the container's network to another container of its owner's.
func (s *service) sendNetwork(c *control.Conn) {
	if s.launch.netns == nil {
		_ = c.Send(problem(errors.New("has no network of its own")))
		return
	}
	if lease := s.launch.lease; lease != nil {
		_ = c.Send(control.Reply{Address: uint32(lease.Address)}, int(s.launch.netns.Fd()), int(lease.File().Fd()))
		return
	}
	_ = c.Send(control.Reply{}, int(s.launch.netns.Fd()))
}

// resolvers are where the names of the host's own name servers are: what systemd-resolved asks stands in the second, where the first names only itself.
var resolvers = []string{resolvConf, "/run/systemd/resolve/resolv.conf"}

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
