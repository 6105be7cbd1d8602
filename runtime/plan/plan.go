// Package plan decides everything about a launch: New makes a Plan of a Request and of Facts, which
// package survey has found.
//
// It is pure. It asks nothing of the system, needs no privilege and imports no package that makes system
// calls, which a test holds; so every decision can be printed (`--dry-run`) and tested as a table. Check
// refuses what the executor, packages supervisor, launch and rootfs, cannot do.
package plan

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/image/ref"
)

// A Plan is everything that a launch does, decided. Its core is an OCI runtime
// specification; the rest is what OCI has no word for.
type Plan struct {
	Owner     Owner  `json:"owner"`
	Container string `json:"container"`
	Root      Root   `json:"root"`

	// Own: in a user namespace of the caller's, without a grant.
	Rootless bool `json:"unprivileged,omitempty"`

	// CallerBinds are the destinations of those mounts whose source is opened with
	// the caller's own rights.
	CallerBinds []string `json:"callerBinds,omitempty"`
	// They must be in one of these directories of the host, with links resolved.
	BindFrom         []string `json:"bindFrom,omitempty"`
	BindReadOnlyFrom []string `json:"bindReadOnlyFrom,omitempty"`
	// Devices are device nodes of the host, besides those of every container.
	Devices []string `json:"devices,omitempty"`
	// Files are small files of the container's own, mounted read-only.
	Files []File `json:"files,omitempty"`
	// Login makes the command's name begin with "-", as for a login shell.
	Login bool `json:"login,omitempty"`
	// Fallback is executed where the image does not have the command.
	Fallback []string `json:"fallback,omitempty"`
	// TTY: the command has a terminal of its own as /dev/tty, and descriptors that are
	// passed through.
	TTY bool `json:"tty,omitempty"`
	// SetIDs: the command runs as another user than the caller.
	SetIDs bool `json:"setIDs"`
	// KeepGroups: root inside cannot give up the caller's groups.
	KeepGroups bool `json:"keepGroups,omitempty"`
	// CwdID is which directory of the host the working directory is; nil: whatever has
	// the name. CwdNames are other names of it inside, in case something hides it by
	// the first.
	CwdID    *FileID  `json:"cwdID,omitempty"`
	CwdNames []string `json:"cwdNames,omitempty"`
	// DirRequired: no other working directory will do.
	DirRequired bool `json:"dirRequired,omitempty"`
	// Descriptors are those that the program was started with and the command gets,
	// besides 0, 1 and 2.
	Descriptors []int `json:"descriptors,omitempty"`
	// ListenPID: the command is told that sockets among them are for it.
	ListenPID bool `json:"listenPID,omitempty"`

	// KeepInit: PID 1 is moved out of the control groups in which the caller may move processes.
	KeepInit bool `json:"keepInit,omitempty"`
	// Containers is how many the owner may have at a time, this one included; 0: any number.
	Containers int `json:"containers,omitempty"`

	// Network is as it was asked for; NetworkMode what kind the container has of its own, "" for the host's.
	Network     string     `json:"network"`
	NetworkMode string     `json:"networkMode,omitempty"`
	Join        *Neighbour `json:"join,omitempty"` // whose network it is
	// NetworkRange are the addresses of which a private network has one; Publish are the host's ports that lead to it.
	NetworkRange string `json:"networkRange,omitempty"`
	Publish      []Port `json:"publish,omitempty"`

	// Multiplexed: the image's programs are of 32-bit x86, which make sockets by socketcall(2).
	Multiplexed bool `json:"multiplexed,omitempty"`

	// Nested: commands may make user namespaces.
	Nested bool `json:"nestedNamespaces,omitempty"`

	// Measure: tell afterwards what the container has used.
	Measure bool `json:"measure,omitempty"`

	// Limitations are what the container lacks for want of a grant; "": nothing.
	Limitations string `json:"limitations,omitempty"`

	// Notes are what the user may want to know, and Warnings what they must.
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Timeout   time.Duration `json:"timeout,omitempty"`
	KillAfter time.Duration `json:"killAfter,omitempty"`
	// OutputLimit is how many bytes the command may write to standard output and error; 0: any number.
	OutputLimit int64 `json:"outputLimit,omitempty"`

	Spec specs.Spec `json:"spec"`

	Joins bool `json:"-"` // the command joins a container that is there
}

// A RootKind is what a root file system is, and so what becomes of it.
type RootKind string

// The kinds of root file systems.
const (
	RootVersion  RootKind = "version"  // an image that does not change, itself, read-only
	RootSnapshot RootKind = "snapshot" // a copy, which is thrown away
	RootSession  RootKind = "session"  // the owner's writable copy, which stays
	RootDraft    RootKind = "draft"    // an image that is being made
	RootImage    RootKind = "image"    // an image that has no versions, itself, to be changed
)

// A Root is the root file system of a container.
type Root struct {
	Kind    RootKind `json:"kind"`
	Store   string   `json:"store"`
	Image   string   `json:"image"`             // name
	Version int      `json:"version,omitempty"` // 0: the image has no versions
	Name    string   `json:"name,omitempty"`    // of the snapshot, session or draft
	// Replace are files that the container has its own of. Where the root file system can be
	// written to they are no mounts: programs put new ones in their place.
	Replace []File `json:"replace,omitempty"`
	// Append are lines that are added to files.
	Append []File `json:"append,omitempty"`
	// ReadAhead are files that the command's start is likely to read.
	ReadAhead []string `json:"readAhead,omitempty"`
}

// MayCreate tells whether a missing mount point may be made in it.
func (r Root) MayCreate() bool { return r.Kind == RootSnapshot || r.Kind == RootSession }

// Changes tells that it is an image, and that what is written is kept in it.
func (r Root) Changes() bool { return r.Kind == RootDraft || r.Kind == RootImage }

// An Owner is whose the container is: the caller, as the host knows them.
type Owner struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// A File is a file that exists only in one container.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Link    string `json:"link,omitempty"` // instead of a content: what a symbolic link says
}

// Path is where the root file system is on the host while the container runs.
func (p *Plan) Path() string {
	if p.Root.Kind != RootSnapshot {
		return p.Spec.Root.Path
	}
	return ref.CopyPath(p.Root.Store, p.Root.Name)
}
