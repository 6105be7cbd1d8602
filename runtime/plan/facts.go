package plan

import (
	"mayfly/personality/arch"
	"mayfly/runtime/caller"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// Facts are what a plan depends on besides the request. survey.Find finds them.
type Facts struct {
	Caller   caller.Caller
	Policy   rule.Decision
	Host     arch.Architecture
	Version  int      // version of the image; 0: it has none
	Root     string   // path of the image's root file system on the host
	ImageEnv []string // NAME=VALUE entries of the image's configuration
	// NeedsSnapshot: the container needs a snapshot, since the image can change, must not
	// be shared, or lacks a mount point.
	NeedsSnapshot bool
	Image         arch.Architecture // the image's; zero: its /bin/sh tells none
	NoShell       bool              // the image lacks the shell of SHELL
	NoLocales     []string          // locales of the environment that it lacks
	Term          string            // what TERM is to be; "": unchanged
	User          passwd.Entry      // who the command runs as
	Groups        []uint32          // the user's supplementary groups
	// Delegated: the caller may move processes between control groups here. It is
	// looked up where a limit of the policy's depends on it.
	Delegated    bool
	Neighbour    Neighbour   // the container whose network is asked for
	RootInside   *RootInside // nil: there is no root inside
	Rootless     bool        // see Plan.Rootless
	HasIDs       bool        // not rootless, or with subordinate ids
	GrantIgnored error       // why a grant has no effect; nil: it has
	Passwd       string      // a private /etc/passwd; "": the host's will do
	Group        string      // a private /etc/group; "": the host's will do
	Hosts        string      // the host's /etc/hosts
	Zone         zone        // the host's time zone
	// Resolv is the host's resolv.conf. It is read where the root file system is
	// writable.
	Resolv string
	// Servers is a resolv.conf without servers on the host's loopback interface, for
	// other networks than the host's.
	Servers string
	// Present tells which paths of HostFiles and of the policy's binds exist on the
	// host.
	Present  map[string]bool
	Bound    []BoundSource // sources of the policy's binds
	Dir      HostDir       // the caller's working directory
	DirHides bool          // a bind at its Path would hide files of the image
	// Project is the directory of the request's project: Dir, or one above it.
	// ProjectHides is like DirHides.
	Project      HostDir
	ProjectHides bool
	// Home is the directory that HOME names, HomeName its value.
	Home     HostDir
	HomeName string // see Home
	// HomeLink: HomeName is a symbolic link to the home, and is inside.
	HomeLink     bool
	HomeHides    bool   // a bind at its Path would hide files of the image
	HomeIsOurs   bool   // HomeName is a mount of the container's own, as /tmp
	HomeInImage  bool   // the image has a directory HomeName
	RandomDigits string // 16 hex digits
	DiskDigits   string // 16 others
}

// A Neighbour is a container whose network another one shares.
type Neighbour struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"` // the owner's
	// Network is its NetworkMode; "": it has the host's network.
	Network string `json:"network,omitempty"`
}
