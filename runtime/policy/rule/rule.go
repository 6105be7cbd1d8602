// Package rule is the policy's text as data: rules, what each may say, and which of
// them applies to a caller and an image. It reads no file and asks nothing of the
// system. Package policy brings the text; the plan of a launch asks the rule that was
// found.
package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// File is the policy's main file, the only one that may have Settings.
const File = "/etc/mayfly/policy.toml"

// DefaultStore is the store unless the policy names another: the directory of
// machinectl.
const DefaultStore = "/var/lib/machines"

// Settings hold for all images and callers. Only File may have them.
type Settings struct {
	Store string // directory of the images
	Audit bool   // tell the system's log of each launch and refusal
	// ImageGroup is the group whose members may change images as root does. That
	// amounts to being root: programs of an image run as root when it is made. "": only
	// root may.
	ImageGroup string
	// Unprivileged: a caller without a grant gets a rootless container without asking
	// for it.
	Unprivileged bool
	// NetworkRange is the range of addresses of private networks, such as 10.87.0.0/16.
	NetworkRange string
}

// A Rule says who may use which images, and how. What it does not say is not allowed,
// or is as in BuiltIn, which suits the build server that Mayfly was made for.
type Rule struct {
	Images []string // globs, at least one
	// Versions are those of the images that callers may run, as after the @ of a
	// reference; none: all.
	Versions []string
	// Users and Groups are names or numbers. If both are empty the rule is for
	// everybody; else for these users and for members of these groups.
	Users, Groups []string
	Deny          bool // no container for these callers

	// BindReadOnly and Bind are paths of the host that every container has at the same
	// place. A path that the host does not have is left out.
	BindReadOnly, Bind []string
	// BindSlave: what the host mounts below a writable bind later appears in the
	// container, as the file systems of an automounter do, with the attributes that it
	// has on the host.
	BindSlave bool
	// Devices are device nodes in the host's /dev that containers have. Their mode says
	// who may open them.
	Devices []string
	// AllowBind and AllowBindReadOnly are directories. A caller may ask for a bind of a
	// file in them that they may read themself. Symbolic links are resolved before that
	// is decided.
	AllowBindReadOnly, AllowBind []string
	// BindCwd and BindHome: the working directory and the home are bound unless they
	// are inside already, if AllowBind lets the caller ask for that.
	BindCwd, BindHome bool
	// Env are globs for names of environment variables that pass.
	Env    []string
	EnvAll bool // a caller may ask for their whole environment to pass

	Personality string   // "": the image's, or what the caller asks for
	Writable    bool     // a caller may ask for a writable root file system
	Tmp         string   // where /tmp and /var/tmp are, TmpMemory or TmpDisk
	Network     []string // networks that a caller may ask for; the first is the default
	RootInside  bool     // a caller may ask for root inside
	// RootIDs is the first of as many ids on the host as the constant RootIDs says, for
	// root inside; 0: the caller's of subuid(5) and subgid(5).
	RootIDs int
	// DropGroups: root inside with these ids may give up the caller's groups. With ids
	// of subgid(5) it may anyway.
	DropGroups bool
	// NestedNamespaces: commands may make user namespaces, and in those mounts and all
	// other namespaces.
	NestedNamespaces bool
	Limits           Limits

	Source  *text
	begin   offset           // where the rule begins
	Offsets [keyCount]offset // where its settings begin
}

// RootIDs is how many ids root inside has, from 0 on: those that Debian's policy knows.
const RootIDs = 65536

// Limits are what a caller can use at most. Zero: no limit.
type Limits struct {
	Containers int           // running containers of one user
	Sessions   int           // of one user
	Memory     int64         // bytes, for one container
	Swap       int64         // bytes besides Memory; 0 with Memory limited: none
	Tasks      int           // processes and threads of one container
	CPU        float64       // processors, for one container
	CPUWeight  int           // share of processor time, 1 to 10000; usual is 100
	IOWeight   int           // share of disk time, in the same way
	Time       time.Duration // for one command
}

// A text is a policy file as it was read. An offset is one more than that of a byte in
// it; zero means that there is none.
type text struct{ name, data string }
type offset int32

// A Place is a line of a policy file. The zero Place means built in.
type Place struct {
	File string
	Line int
}

// Place returns the line of an offset.
func (t *text) Place(o offset) Place {
	if o == 0 {
		return Place{}
	}
	return Place{t.name, 1 + strings.Count(t.data[:o-1], "\n")}
}

// Place is where the rule begins; zero for the built-in one.
func (r *Rule) Place() Place { return r.Source.Place(r.begin) }

// PlaceOf is where a setting of the rule is; zero if the rule has the built-in one.
func (r *Rule) PlaceOf(name string) Place {
	if k := slices.Index(keyNames[:], name); k >= 0 {
		return r.Source.Place(r.Offsets[k])
	}
	return Place{}
}

// BuiltIn returns the rule that holds where neither a rule nor its file says anything.
func BuiltIn() Rule {
	return Rule{
		BindReadOnly: []string{"/etc/passwd", "/etc/group", "/opt"},
		Bind:         []string{"/home"},
		BindCwd:      true,
		BindHome:     true,
		Env:          []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_*", "TZ", "USER", "LOGNAME", "HOME", "SHELL", "CI"},
		Tmp:          TmpMemory,
		Network:      []string{"host"},
	}
}

// Quote writes a TOML basic string.
func Quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", c)
		default:
			b.WriteRune(c) // U+FFFD for invalid UTF-8
		}
	}
	b.WriteByte('"')
	return b.String()
}

// QuoteList writes a TOML list of strings.
func QuoteList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = Quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
