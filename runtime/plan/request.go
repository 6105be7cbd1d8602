package plan

import (
	"strings"
	"time"

	"mayfly/runtime/network/address"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Choice is yes, no, or left to the circumstances.
type Choice int

// The choices. With Auto the circumstances decide.
const (
	Auto Choice = iota
	Yes
	No
)

// A Request says what to run and how. Only Image or Session is needed.
type Request struct {
	Store   string // directory of the images; "": the policy's. Only root may choose.
	Image   string // NAME or NAME@VERSION
	Session string // instead of Image: the caller's session to run in
	// Discard: the command runs in a throw-away snapshot of the session.
	Discard bool
	Draft   string // name of a draft of Image to run in; root only
	// DraftEnv are NAME=VALUE entries of Draft's configuration.
	DraftEnv []string
	Command  []string // empty: the user's login shell
	Login    bool     // the login shell runs Command
	NoLogin  bool     // the shell is not started as a login shell

	// Name is the container's; "": the image's name with 16 random hex digits.
	Name     string
	Hostname string // "": the container's name

	Binds []Bind
	// AddHosts are entries of /etc/hosts that stand before the host's: "ADDRESS NAME".
	AddHosts []string
	NoBinds  []string // destinations of the policy's binds to leave out
	// NoHostBinds leaves out all of the policy's binds, the working directory and the
	// home: nothing of the host's is inside but what Binds says, and files of /etc.
	NoHostBinds bool
	Tmpfs       []Tmpfs
	// NoSync: fsync(2) and its kind do nothing, which suits files that are thrown away.
	NoSync bool

	Passing Passing // which open descriptors the command gets

	Env    []string // NAME (with the caller's value) or NAME=VALUE
	EnvAll bool     // all variables of the caller's pass

	Dir string // working directory; "": the caller's, where it is inside
	// Project is a directory of the host, the caller's working directory or one above
	// it: it is bound where that would be. InProject: it is the working directory.
	// Neither holds with Dir.
	Project   string
	InProject bool
	// RootInside: the command is root of a user namespace, with subordinate ids of the
	// caller's.
	RootInside bool
	// RootIsCaller: with RootInside, root has the caller's own id on the host, and the
	// caller's id inside is a subordinate one.
	RootIsCaller bool
	User         string // name or number; "": the caller
	Personality  string // "": found from the image

	// Network is host, none, private, join:NAME or interface:IF; "": the first that the
	// policy names.
	Network string
	Publish []address.Port // for a private network

	Writable    bool // the root file system is a writable snapshot
	NoEphemeral bool // changes the image itself; root only

	Resources Resources // limits on what the container uses
	Measure   bool      // see Plan.Measure

	// Limits are soft resource limits for the command, where the process itself has
	// higher ones.
	Limits []specs.POSIXRlimit
	// TimerSlack is the command's timer slack in nanoseconds, where the process itself
	// has a larger one; 0: the process's.
	TimerSlack int

	Terminal  Choice        // whether the command gets a pseudo-terminal
	Timeout   time.Duration // 0: no limit
	KillAfter time.Duration // from SIGTERM at a limit to SIGKILL

	OutputLimit int64 // see Plan.OutputLimit

	Watch bool // see Plan.Watch
}

// ImageName is the image's name without its version.
func (r Request) ImageName() string {
	name, _, _ := strings.Cut(r.Image, "@")
	return name
}

// A Bind makes a file or directory of the host appear in the container.
type Bind struct {
	Source      string // absolute path on the host
	Destination string // absolute path inside
	ReadOnly    bool
}

// A Tmpfs is an empty file system in memory.
type Tmpfs struct {
	Destination string
	Options     []string
}
