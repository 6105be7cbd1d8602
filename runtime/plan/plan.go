// Package plan decides everything about a launch: New makes a Plan of a Request and of
// the Facts that package survey has found.
//
// It is pure. It asks nothing of the system, needs no privilege, and imports no package
// that makes system calls; a test checks that. So every decision can be printed
// (`--dry-run`) and tested as a table. Check refuses a plan that the packages
// supervisor, launch and rootfs cannot carry out.
package plan

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/network/address"
)

// A Plan is everything that a launch does. Its core is an OCI runtime specification;
// the other fields are what OCI has no word for.
type Plan struct {
	Owner     Owner  `json:"owner"`
	Container string `json:"container"`
	Root      Root   `json:"root"`

	// Rootless: the program runs in a user namespace of the caller's, without a grant.
	Rootless bool `json:"unprivileged,omitempty"`

	// Rule is the line of the policy that decides, for messages.
	Rule string `json:"rule,omitempty"`
	// CallerBinds are the destinations of the binds that the caller asked for. Their
	// sources are opened with the caller's own rights.
	CallerBinds []string `json:"callerBinds,omitempty"`
	// BindFrom are the directories of the host in which sources of CallerBinds must be,
	// after symbolic links are resolved. Sources of read-only binds may be in
	// BindReadOnlyFrom, too.
	BindFrom         []string `json:"bindFrom,omitempty"`
	BindReadOnlyFrom []string `json:"bindReadOnlyFrom,omitempty"`
	// Devices are paths of the host's device nodes that the container has besides the
	// usual ones.
	Devices []string `json:"devices,omitempty"`
	// Disk is the name of a throw-away directory in the store's run directory; "": there
	// is none. Mounts of the type OnDisk are directories in it.
	Disk string `json:"disk,omitempty"`
	// Files are small files of the container's own, mounted read-only.
	Files []File `json:"files,omitempty"`
	// Login makes the command's name begin with "-", as for a login shell.
	Login bool `json:"login,omitempty"`
	// Fallback is executed where the image does not have the command.
	Fallback []string `json:"fallback,omitempty"`
	// TTY: the command has a terminal of its own as /dev/tty, and the caller's
	// descriptors 0, 1 and 2.
	TTY bool `json:"tty,omitempty"`
	// SetIDs: the command runs as another user than the caller.
	SetIDs bool `json:"setIDs"`
	// KeepGroups: setgroups(2) is denied in the user namespace, so that root inside
	// cannot give up the caller's groups.
	KeepGroups bool `json:"keepGroups,omitempty"`
	// CwdID identifies the host's directory that must be the working directory; nil:
	// any directory of that name will do. CwdNames are other names of it inside, in
	// case something covers the first.
	CwdID    *FileID  `json:"cwdID,omitempty"`
	CwdNames []string `json:"cwdNames,omitempty"`
	// DirRequired: the command starts in no other directory.
	DirRequired bool `json:"dirRequired,omitempty"`
	// Descriptors lists the descriptors, besides 0, 1 and 2, that the command gets, in
	// order. The program was started with them, or has opened make's jobserver.
	Descriptors []int `json:"descriptors,omitempty"`
	// ListenPID: the command gets LISTEN_PID, since there are sockets among
	// Descriptors.
	ListenPID bool `json:"listenPID,omitempty"`

	// KeepInit: PID 1 is moved into a control group in which the caller may move no
	// processes.
	KeepInit bool `json:"keepInit,omitempty"`
	// Containers is how many containers the owner may have at a time, this one
	// included; 0: any number.
	Containers int `json:"containers,omitempty"`

	// Network is the network as the request or the policy writes it. NetworkMode is the
	// kind of the container's own network, none, private or interface; "": it has the
	// host's.
	Network     string `json:"network"`
	NetworkMode string `json:"networkMode,omitempty"`
	// Join is the container whose network is shared; nil: none.
	Join *Neighbour `json:"join,omitempty"`
	// NetworkRange is the range from which a private network gets its address. Publish
	// are the ports of the host that lead to ports of the container.
	NetworkRange string         `json:"networkRange,omitempty"`
	Publish      []address.Port `json:"publish,omitempty"`

	// Multiplexed: the image's programs are for 32-bit x86, and the container has a
	// network of its own. They make sockets by socketcall(2), which the seccomp filter
	// has to let pass.
	Multiplexed bool `json:"multiplexed,omitempty"`

	// Nested: commands may make user namespaces.
	Nested bool `json:"nestedNamespaces,omitempty"`

	// Watch: it is recorded which files are opened in the root file system and below
	// binds.
	Watch bool `json:"watch,omitempty"`

	// NoSync: fsync(2) and its kind succeed and do nothing.
	NoSync bool `json:"noSync,omitempty"`

	// TimerSlack is that of commands, in nanoseconds; 0: that of the process.
	TimerSlack int `json:"timerSlack,omitempty"`

	// Measure: the Status tells what the container has used.
	Measure bool `json:"measure,omitempty"`

	// Limitations tells what a rootless container lacks; "": the container is not
	// rootless.
	Limitations string `json:"limitations,omitempty"`

	// Notes are what the user may want to know, and Warnings what they must.
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Timeout   time.Duration `json:"timeout,omitempty"`
	KillAfter time.Duration `json:"killAfter,omitempty"`
	// OutputLimit is how many bytes the command may write to standard output and error
	// together; 0: any number.
	OutputLimit int64 `json:"outputLimit,omitempty"`

	Spec specs.Spec `json:"spec"`

	Joins bool `json:"-"` // the command joins a running container
}

// A RootKind is the kind of a root file system, which tells what becomes of it
// afterwards.
type RootKind string

// The kinds of root file systems.
const (
	RootVersion  RootKind = "version"  // a version of an image, read-only
	RootSnapshot RootKind = "snapshot" // a snapshot, deleted at the end
	RootSession  RootKind = "session"  // the owner's writable snapshot, which stays
	RootDraft    RootKind = "draft"    // a version that is being made
	RootImage    RootKind = "image"    // an image without versions, which is changed
)

// A Root is the root file system of a container.
type Root struct {
	Kind    RootKind `json:"kind"`
	Store   string   `json:"store"`
	Image   string   `json:"image"`             // its name
	Version int      `json:"version,omitempty"` // 0: the image has no versions
	Name    string   `json:"name,omitempty"`    // of the snapshot, session or draft
	// Replace are files of the container's own where the root file system is writable.
	// They are plain files and no mounts, since programs replace them by rename(2).
	Replace []File `json:"replace,omitempty"`
	// Append are lines that are added to files of the root file system.
	Append []File `json:"append,omitempty"`
	// ReadAhead are files that the command's start is likely to read.
	ReadAhead []string `json:"readAhead,omitempty"`
}

// MayCreate tells whether a missing mount point may be made in the root file system.
func (r Root) MayCreate() bool { return r.Kind == RootSnapshot || r.Kind == RootSession }

// Changes tells that the root file system is an image or draft, in which changes are
// kept.
func (r Root) Changes() bool { return r.Kind == RootDraft || r.Kind == RootImage }

// An Owner is the user to whom a container belongs: the caller, with their ids on the
// host.
type Owner struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// A File is a file that exists in one container only.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Link    string `json:"link,omitempty"` // target of a symbolic link; then no Content
}

// ImageReference is the image as a user writes it, with the version that it has.
func (p *Plan) ImageReference() string {
	return ref.Reference{Name: p.Root.Image, Version: p.Root.Version}.String()
}

// Path is the path of the root file system on the host while the container runs.
func (p *Plan) Path() string {
	if p.Root.Kind != RootSnapshot {
		return p.Spec.Root.Path
	}
	return ref.SnapshotPath(p.Root.Store, p.Root.Name)
}
