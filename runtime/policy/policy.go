// Package policy reads what the administrator has decided: where images are, who may
// use which, what every container gets without being asked, and what a caller may ask for.
//
// A policy is a list of rules. The first rule that names the image and the caller decides,
// alone; where none does, the answer is no. Files of policy.d come first, in the
// order of their names, then policy.toml, whose last rule can so be the one for all others.
package policy

import (
	_ "embed" // for DefaultText

	"mayfly/runtime/policy/rule"
)

// Where the administrator's decisions are read from.
const (
	Directory = "/etc/mayfly"
	mainFile  = "policy.toml"
	dropIns   = "policy.d"
	File      = rule.File
)

// DefaultText is the policy that comes with Mayfly: a file to be read and changed.
//
//go:embed default.toml
var DefaultText string
