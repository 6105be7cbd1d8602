package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/user/passwd"
)

// mounts lists the file systems of the container, in the order in which they are
// attached: the container's own, the administrator's binds, the request's. Of the
// administrator's, and of the request's, one that is in another comes after it, since
// it would be hidden by it.
func (p *Plan) mounts(r Request, f Facts) error {
	p.Spec.Mounts = ownMounts(f.User.UID, p.terminals()...)
	p.withoutGrant(f)
	own := len(p.Spec.Mounts)
	if !r.NoEphemeral {
		p.hostBinds(f)
	}
	if p.RootInside() {
		p.userFiles(f)
	}
	p.files(f)
	parentsFirst(p.Spec.Mounts[own:])
	return p.requested(r, f)
}

func parentsFirst(list []specs.Mount) {
	depth := func(m specs.Mount) int { return strings.Count(m.Destination, "/") }
	slices.SortStableFunc(list, func(a, b specs.Mount) int { return depth(a) - depth(b) })
}

// ownMounts are the file systems that every container has. Memory-backed ones
// are bounded in proportion to the machine, so that none of them alone can take it. terminals are further options of devpts.
func ownMounts(uid uint32, terminals ...string) []specs.Mount {
	secure := []string{"nosuid", "nodev"}
	kernel := []string{"nosuid", "nodev", "noexec"}
	memory := func(options ...string) []string { return append(slices.Clone(secure), options...) }
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: kernel},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append(slices.Clone(kernel), "ro")},
		{Destination: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup2", Options: append(slices.Clone(kernel), "ro")},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "ro", "mode=0755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: append([]string{"nosuid", "noexec", "ptmxmode=0666", "mode=0620", "gid=5", fmt.Sprintf("uid=%d", uid)}, terminals...)},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: kernel},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: memory("mode=1777", "size=50%")},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: memory("mode=1777", "size=50%")},
		{Destination: "/var/tmp", Type: "tmpfs", Source: "tmpfs", Options: memory("mode=1777", "size=50%")},
		{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: memory("mode=0755", "size=10%")},
	}
}

// withoutGrant replaces what a user namespace cannot have: a sysfs of its own, which belongs to a network; a group that it
// has no id for.
func (p *Plan) withoutGrant(f Facts) {
	if !p.Rootless {
		return
	}
	for i := range p.Spec.Mounts {
		switch m := &p.Spec.Mounts[i]; m.Destination {
		case "/sys":
			if p.NetworkMode != "" {
				continue // it has a network
			}
			*m = bindMount("/sys", "/sys", true, false)
		case "/dev/pts":
			if !f.HasIDs {
				m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") })
			}
		}
	}
}

// hostBinds are the administrator's binds, and the host's name resolution and
// time zone. A private copy of /etc/passwd or /etc/group takes the bind's place.
func (p *Plan) hostBinds(f Facts) {
	for _, name := range f.Policy.BindReadOnly {
		switch {
		case p.RootInside() && (name == passwd.PasswdFile || name == passwd.GroupFile):
		case name == "/etc/passwd" && f.Passwd != "":
			p.Files = append(p.Files, File{Path: name, Content: f.Passwd})
		case name == "/etc/group" && f.Group != "":
			p.Files = append(p.Files, File{Path: name, Content: f.Group})
		case f.Present[name]:
			p.Spec.Mounts = append(p.Spec.Mounts, bindMount(name, name, true, false))
		}
	}
	for _, name := range f.Policy.Bind {
		if f.Present[name] {
			p.Spec.Mounts = append(p.Spec.Mounts, bindMount(name, name, false, f.Policy.BindSlave))
		}
	}
}

// bindMount copies the mounts of the source as they are. What the host mounts there
// later does not appear, unless slave says so: it would have the attributes that it has
// on the host, neither nosuid nor nodev, and could be a procfs. Where the bind is
// read-only it never does, since it would be writable.
func bindMount(source, destination string, readOnly, slave bool) specs.Mount {
	options := []string{"rbind", "nosuid", "nodev"}
	switch {
	case readOnly:
		options = append(options, "ro")
	case slave:
		options = append(options, "rslave")
	}
	return specs.Mount{Destination: path.Clean(destination), Type: "bind", Source: source, Options: options}
}
