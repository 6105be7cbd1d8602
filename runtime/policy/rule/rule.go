// Package rule is the policy's text as data: rules, what each may say, and which of them is for a
// caller and an image. It reads no file and asks nothing of the system: package policy brings the
// text, and the plan of a launch asks the rule that was found.
package rule

import (
	"strings"
	"time"
)

// File is the only one that has settings.
const File = "/etc/mayfly/policy.toml"

// DefaultStore is where images are unless the policy says otherwise: machinectl's place.
const DefaultStore = "/var/lib/machines"

// Settings hold for everything, not for a rule. Only policy.toml has them.
type Settings struct {
	Store string // directory of the images
	Audit bool   // tell the system's log of each launch and refusal
	// ImageGroup may change images as root does, which is to be root: an image's programs are run
	// as root when it is made. Empty: only root may.
	ImageGroup string
	// Unprivileged: whoever has no grant runs containers in a user namespace of their own without being asked for it.
	Unprivileged bool
	// NetworkRange are the addresses that containers with private networks have, such as 10.87.0.0/16.
	NetworkRange string
}

// A Rule says who may use which images, and how. What it does not say is not allowed,
// and what comes into every container is then that of the build server that Mayfly was made for.
type Rule struct {
	Images []string // globs; a rule names at least one
	// Users and Groups are names or numbers. Where both are empty the rule is for
	// everybody; else for whoever is one of the users or in one of the groups.
	Users, Groups []string
	Deny          bool // no container for these

	// Host paths that every container sees at the same place; one that the host does
	// not have is left out.
	BindReadOnly, Bind []string
	// BindSlave: what the host mounts below a writable bind later appears in the
	// container, as an automounter's file systems do, with the attributes that it has
	// on the host.
	BindSlave bool
	// Devices are device nodes in the host's /dev that appear in the container's. Who may
	// open them is for their mode to say.
	Devices []string
	// A caller may ask for binds of what is in these directories, and of what they
	// may read themself. Links are resolved before that is decided.
	AllowBindReadOnly, AllowBind []string
	// The working directory, and the home, are bound unasked where they are not inside
	// already and AllowBind lets the caller ask for it.
	BindCwd, BindHome bool
	// Env names the environment variables that pass; a star stands for any characters.
	Env    []string
	EnvAll bool // a caller may have the whole environment passed

	Personality string   // "": the image's, or what the caller asks for
	Writable    bool     // a caller may ask for a snapshot that can be written to
	Network     []string // modes a caller may ask for; the first is what they get unasked
	RootInside  bool     // a caller may be root of a user namespace
	RootIDs     int      // with these ids on the host from here on, so many as RootIDs says; 0: those of subuid(5)
	DropGroups  bool     // and may, with those, give up the groups that the caller has; with ids of subgid(5) they may anyway
	// NestedNamespaces: commands may make user namespaces, and in those mounts and all
	// other namespaces.
	NestedNamespaces bool
	Limits           Limits

	Source  *text
	begin   offset           // of the rule
	Offsets [keyCount]offset // of its settings
}

// RootIDs is how many ids root inside has, from 0 on: those that Debian's policy knows.
const RootIDs = 65536

// Limits bound what a caller can use up. Zero: no limit.
type Limits struct {
	Containers int           // of one user at a time
	Sessions   int           // of one user
	Memory     int64         // bytes, of one container
	Swap       int64         // bytes besides; where Memory is bounded, none unless this says so
	Tasks      int           // of one container
	CPU        float64       // processors, of one container
	CPUWeight  int           // of one container, beside others that want the processors: 1 to 10000, usual is 100
	IOWeight   int           // the same for disks
	Time       time.Duration // of one command
}

// A text is a policy file as it was read. An offset is one more than that of a byte in it;
// zero means that there is none.
type text struct{ name, data string }
type offset int32

// A Place is a line of a policy file. The zero Place means that it is built in.
type Place struct {
	File string
	Line int
}

func (t *text) Place(o offset) Place {
	if o == 0 {
		return Place{}
	}
	return Place{t.name, 1 + strings.Count(t.data[:o-1], "\n")}
}

// Place is where the rule begins; zero for the built-in one.
func (r *Rule) Place() Place { return r.Source.Place(r.begin) }

// builtIn is what holds where neither a rule nor its file says anything.
func BuiltIn() Rule {
	return Rule{
		BindReadOnly: []string{"/etc/passwd", "/etc/group", "/opt"},
		Bind:         []string{"/home"},
		BindCwd:      true,
		BindHome:     true,
		Env:          []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_*", "TZ", "USER", "LOGNAME", "HOME", "SHELL", "CI"},
		Network:      []string{"host"},
	}
}
