package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/caller"
	"mayfly/runtime/policy/rule"
)

// JoinPrefix begins a network `join:NAME`: that of another container of the same owner.
// No rule names it.
const JoinPrefix = "join:"

// InterfacePrefix begins a network `interface:IF`: the host's interface is moved into a
// network of the container's own. Only root may ask for it. Its NetworkMode is
// NetworkInterface.
const (
	InterfacePrefix  = "interface:"
	NetworkInterface = "interface"
)

// maxInterface bounds the length of an interface's name, with the NUL at its end
// (IFNAMSIZ).
const maxInterface = 16

// network returns the network that the request asks for, else the first that the rule
// names.
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

// Private tells whether the container's network is not the host's and can reach others.
func (f *Facts) Private(r Request) bool {
	wanted := f.network(r)
	return wanted == rule.NetworkPrivate || f.Neighbour.Network == rule.NetworkPrivate || strings.HasPrefix(wanted, InterfacePrefix)
}

// network decides which network the container has, and whether the caller may have it.
func (p *Plan) network(r Request, f Facts) error {
	p.Network = f.network(r)
	allowed := f.Policy.Network
	if f.Policy.Unbound {
		allowed = rule.Networks
	}
	if p.Network == "" {
		return fmt.Errorf("%w: %s names no network", rule.ErrDenied, f.Policy.Place())
	}
	mode, joins := p.Network, strings.HasPrefix(p.Network, JoinPrefix)
	if joins {
		mode = f.Neighbour.Network
	}
	device, takes := strings.CutPrefix(p.Network, InterfacePrefix)
	if takes {
		mode = NetworkInterface
	}
	if f.Caller.UID == 0 {
		allowed = append(slices.Clone(allowed), NetworkInterface)
	}
	switch {
	case takes && f.Caller.UID != 0:
		return fmt.Errorf("--network %s: %w", p.Network, caller.ErrNotPermitted)
	case takes && (device == "" || len(device) >= maxInterface):
		return fmt.Errorf("--network %s: want the name of an interface, `ip link` lists them", p.Network)
	case joins && mode == "":
		return fmt.Errorf("--network %s: that container has no network of its own", p.Network)
	case mode != NetworkInterface && !slices.Contains(rule.Networks, mode):
		return fmt.Errorf("network %q: want host, none, private, join:NAME or, for root, interface:IF", p.Network)
	case !slices.Contains(allowed, mode):
		return fmt.Errorf("--network %s: %w: %s allows only %s", p.Network, rule.ErrDenied, f.Policy.Place(), strings.Join(allowed, ", "))
	case len(r.Publish) > 0 && p.Network != rule.NetworkPrivate:
		return errors.New("--publish needs --network private: on the host's network a port is published by listening at it")
	case mode == rule.NetworkHost:
		return nil
	}
	if f.Rootless && (joins || mode == rule.NetworkPrivate) {
		return fmt.Errorf("--network %s: %w", p.Network, caller.ErrNoGrant)
	}
	p.Publish, p.NetworkRange = r.Publish, f.Policy.NetworkRange
	p.NetworkMode = mode
	if joins {
		p.Join = &Neighbour{Name: f.Neighbour.Name, UID: f.Neighbour.UID}
	}
	p.Spec.Linux.Namespaces = append(p.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	return nil
}
