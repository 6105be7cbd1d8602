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
	"mayfly/runtime/policy"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// The networks that a container can have. Besides there is join:NAME, that of another container of the same owner.
const (
	networkHost = "host" // the host's own
	networkNone = "none" // nothing but a loopback interface
	joinPrefix  = "join:"
)

// Joined is a container whose network another one shares.
type Joined struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"` // of the owner
}

// network decides which network the container has: what is asked for, or the first that the rule names.
func (p *Plan) network(r Request, f Facts) error {
	p.Network = r.Network
	allowed := f.Policy.Network
	if f.Policy.Unbound {
		allowed = []string{networkHost, networkNone}
	}
	if len(allowed) == 0 {
		return fmt.Errorf("%w: the rule at %s names no network", policy.ErrDenied, f.Policy.Place())
	}
	if p.Network == "" {
		p.Network = allowed[0]
	}
	mode, joins := p.Network, strings.HasPrefix(p.Network, joinPrefix)
	if joins {
		mode = f.Joined.Network
	}
	switch {
	case joins && mode == "":
		return fmt.Errorf("--network %s: that container has no network of its own", p.Network)
	case mode != networkHost && mode != networkNone:
		return fmt.Errorf("network %q: want host, none or join:NAME", p.Network)
	case !slices.Contains(allowed, mode):
		return fmt.Errorf("--network %s: %w: the rule at %s does not let you", p.Network, policy.ErrDenied, f.Policy.Place())
	case mode == networkHost:
		return nil
	}
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
	owner, name, err := splitOwner(database, f.Caller, name)
	if err != nil {
		return fmt.Errorf("--network %s: %w", r.Network, err)
	}
	err = asRoot(f.Caller, noCapability, func() error {
		f.Joined, err = state.Find(name, owner)
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
	if strings.HasPrefix(l.plan.Network, joinPrefix) {
		fd, err = joinedNetwork(*l.plan.Join, l.caller)
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
	return nil
}

// joinedNetwork asks another container's supervisor for its network. The thread must act on files as root.
func joinedNetwork(other Joined, c Caller) (int, error) {
	l := &Line{caller: c}
	same := func(uid uint32) bool { return uid == other.UID }
	if err := l.dial(other.Name, same); err != nil {
		return -1, fmt.Errorf("call the supervisor of %s: %w", other.Name, err)
	}
	defer l.Close()
	_, files, err := l.ask(control.Request{Network: true}, replyWithin)
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("container %s: its supervisor sent no network", other.Name)
	}
	if err != nil {
		file.CloseAll(files)
		return -1, err
	}
	return files[0], nil
}

// sendNetwork gives the container's network to another container of its owner's.
func (s *service) sendNetwork(c *control.Conn) {
	if s.launch.netns == nil {
		_ = c.Send(problem(errors.New("has no network of its own")))
		return
	}
	_ = c.Send(control.Reply{}, int(s.launch.netns.Fd()))
}
