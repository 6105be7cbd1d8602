package plan

import (
	"mayfly/personality/arch"
	"mayfly/runtime/caller"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// Facts are what a plan depends on besides the request. Survey finds them.
type Facts struct {
	Caller       caller.Caller
	Policy       rule.Decision
	Host         arch.Architecture
	Version      int               // of the image, 0: it has none
	Root         string            // the image's root file system on the host
	ImageEnv     []string          // entries NAME=VALUE of its configuration
	CopyFirst    bool              // the image can change, or must not be shared, or lacks a mount point
	Image        arch.Architecture // zero: /bin/sh tells none
	NoShell      bool              // it does not have the shell that SHELL would name
	NoLocales    []string          // of those that the environment names it does not have these
	Term         string            // what TERM is to be; "": whatever it is
	User         passwd.Entry      // who the command runs as
	Groups       []uint32          // and the supplementary groups
	Delegated    bool              // the caller may move processes between control groups here; asked where a limit depends on it
	Neighbour    Neighbour         // the container whose network is asked for
	RootInside   *RootInside       // nil: the command is no root of a user namespace
	Rootless     bool              // in a user namespace of the caller's own, which
	HasIDs       bool              // has more ids than theirs
	GrantIgnored error             // why a grant would have no effect; nil: it would
	Passwd       string            // content of a private /etc/passwd; "": the host's own will do
	Group        string            // the same for /etc/group
	Hosts        string            // the host's /etc/hosts
	Zone         zone              // the host's time zone
	Resolv       string            // the host's resolv.conf, where the root file system can be written to
	Servers      string            // a resolv.conf for networks of which the host's loopback is no part
	Present      map[string]bool   // which host files of the defaults exist
	Bound        []BoundSource     // what the policy binds
	Dir          HostDir           // the caller's working directory
	DirHides     bool              // bound at its own name it would hide what the image has there
	Home         HostDir           // the directory that HOME names
	HomeName     string            // and how it is named there
	HomeLink     bool              // that is a symbolic link to it, which is inside
	HomeHides    bool              // bound at its own name it would hide what the image has there
	HomeIsOurs   bool              // it is a file system of the container's own, as /tmp
	HomeInImage  bool              // the image has a directory of that name
	RandomDigits string            // 16 hex digits
}

// A Neighbour is a container whose network another one shares.
type Neighbour struct {
	Name    string `json:"name"`
	UID     uint32 `json:"uid"`               // of the owner
	Network string `json:"network,omitempty"` // which kind of its own it has; "": the host's
}
