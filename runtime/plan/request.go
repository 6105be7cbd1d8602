package plan

import (
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Choice is a decision that can be left to the circumstances.
type Choice int

// The choices. Auto decides by what is found.
const (
	Auto Choice = iota
	Yes
	No
)

// A Request says what to run and how. Only Image is needed.
type Request struct {
	Store   string // directory of the images; "": the policy's. Only root may choose.
	Image   string // of the store: NAME, or NAME@VERSION
	Session string // of the caller's, to run in instead of Image: see Resolve
	Draft   string // name of an image that is being made, which is run instead of Image; root only
	// DraftEnv is what Draft's configuration sets, as entries NAME=VALUE.
	DraftEnv []string
	Command  []string // empty: the user's login shell
	Login    bool     // run Command by way of the login shell
	NoLogin  bool     // and the shell is not started as one

	Name     string // of the container; "": the image's with 16 random hex digits
	Hostname string // "": the container's name

	Binds   []Bind
	NoBinds []string // the policy's binds on these are left out
	Tmpfs   []Tmpfs

	Passing Passing // what the command gets of open descriptors

	Env    []string // NAME (the caller's value) or NAME=VALUE
	EnvAll bool     // the caller's whole environment passes

	Dir          string // working directory; "": the caller's, where it exists inside
	RootInside   bool   // the command is root of a user namespace, with subordinate ids of the caller's
	RootIsCaller bool   // with RootInside: but root has the caller's own id on the host, and the caller root's
	User         string // name or number; "": the caller
	Personality  string // "": found from the image

	Network string // "": the first that the policy names; host, none, private, join:NAME, interface:IF
	Publish []Port // with a private network

	Writable    bool // the snapshot may be written to, and is thrown away all the same
	NoEphemeral bool // the image itself, writable, for maintenance; root only

	Resources Resources // what the container may use
	Measure   bool      // tell afterwards what it has used

	// Limits are soft limits for the command, where the process itself has higher ones.
	Limits []specs.POSIXRlimit

	Terminal  Choice        // a pseudo-terminal of the container's own
	Timeout   time.Duration // 0: none
	KillAfter time.Duration // from SIGTERM at a limit to the end of the container

	OutputLimit int64 // bytes of standard output and error together; 0: none
}

// ImageName is the image's name alone.
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
