package policy

import (
	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
)

// overflow is the uid that files of the host's root have in a user namespace to which
// root is not mapped (the default of /proc/sys/kernel/overflowuid).
const overflow = 65534

// ownDecision is the decision for a rootless container: the caller may do everything
// that the kernel lets them do. A rule sets the defaults, as it does for root. If the
// policy cannot be read, the built-in defaults apply.
func ownDecision(h here.Here, image string, c rule.Caller) rule.Decision {
	d, err := source{top: "/", dir: Directory, owner: overflow}.decide(image, c)
	if err != nil {
		d = rule.Decision{Rule: rule.BuiltIn()}
	}
	d.Unbound, d.Settings = true, ownSettings(h)
	return d
}

// Unprivileged returns whether the policy allows rootless containers. If the caller
// cannot read the policy, it does. This is not a security boundary: without this
// program the caller can make a user namespace anyway.
func Unprivileged() bool {
	s := system
	if !here.OnHost() {
		s.owner = overflow
	}
	settings, err := s.read(func(*rule.Rule) error { return nil })
	return err != nil || settings.Unprivileged
}

// ownSettings are the global settings for rootless containers. These are not logged.
func ownSettings(h here.Here) rule.Settings {
	return rule.Settings{Store: h.Store(), Unprivileged: true}
}
