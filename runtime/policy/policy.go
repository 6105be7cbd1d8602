// Package policy reads the administrator's policy: where the images are, who may run
// which image, what each container has by default, and what a caller may ask for.
//
// A policy is a list of rules. The first rule that matches the image and the caller
// decides, alone. If no rule matches, the answer is no. The files of policy.d come
// first, in the order of their names, then policy.toml: its last rule can be the one
// for all other cases.
package policy

import (
	_ "embed" // for DefaultText

	"mayfly/runtime/policy/rule"
)

// The files of the policy.
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
