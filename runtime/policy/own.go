package policy

import (
	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
)

// overflow is who root is to a user namespace that has no id for them (/proc/sys/kernel/overflowuid, which nobody changes).
const overflow = 65534

// ownDecision is what a caller may do in a user namespace of their own: all that they could do anyway. A rule gives
// what comes into the container unasked, as it does to root; a policy that cannot be read there gives nothing.
func ownDecision(h here.Here, image string, c rule.Caller) rule.Decision {
	d, err := source{"/", Directory, overflow}.decide(image, c)
	if err != nil {
		d = rule.Decision{Rule: rule.BuiltIn()}
	}
	d.Unbound, d.Settings = true, ownSettings(h)
	return d
}

// Unprivileged tells whether the policy lets whoever has no grant have a user namespace of their own. A policy that they cannot
// read does: it binds nobody who does without this program.
func Unprivileged() bool {
	s := system
	if !here.OnHost() {
		s.owner = overflow
	}
	settings, err := s.read(func(*rule.Rule) error { return nil })
	return err != nil || settings.Unprivileged
}

// ownSettings hold in a user namespace. Nothing that happens there is for the system's log.
func ownSettings(h here.Here) rule.Settings {
	return rule.Settings{Store: h.Store(), Unprivileged: true}
}
