package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// mounts lists the container's mounts in the order in which they are attached: the file
// systems of the container's own, the policy's binds and the host's files, then the
// request's. Within the last two groups a mount comes after the one that it lies in,
// which would cover it.
func (p *Plan) mounts(r Request, f Facts) error {
	p.Spec.Mounts = ownMounts(f.User.UID, p.devptsOptions()...)
	p.tmpOnDisk(f)
	p.rootlessMounts(f)
	own := len(p.Spec.Mounts)
	if !r.NoEphemeral {
		p.hostBinds(f)
	}
	if p.RootInside() {
		p.userFiles(f)
	}
	p.files(r, f)
	parentsFirst(p.Spec.Mounts[own:])
	return p.requested(r, f)
}

func parentsFirst(list []specs.Mount) {
	depth := func(m specs.Mount) int { return strings.Count(m.Destination, "/") }
	slices.SortStableFunc(list, func(a, b specs.Mount) int { return depth(a) - depth(b) })
}

// ownMounts are the file systems that every container has. Those in memory are limited
// in proportion to the machine's memory, so that one alone cannot use it up. terminals
// are further options of devpts.
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

// OnDisk is the type of a mount whose source is a directory of Plan.Disk.
const OnDisk = "disk"

// tmpOnDisk puts the directories for temporary files on the store's file system, if the
// policy says so: in memory they count as a job's memory, and a full one makes the
// kernel kill the job.
func (p *Plan) tmpOnDisk(f Facts) {
	if f.Policy.Tmp != rule.TmpDisk {
		return
	}
	p.Disk = ref.SnapshotName(f.Caller.UID, p.Container, f.DiskDigits)
	for i := range p.Spec.Mounts {
		if m := &p.Spec.Mounts[i]; m.Destination == "/tmp" || m.Destination == "/var/tmp" {
			*m = specs.Mount{Destination: m.Destination, Type: OnDisk, Source: strings.ReplaceAll(m.Destination[1:], "/", "-"), Options: []string{"nosuid", "nodev"}}
		}
	}
}

// Own tells that a mount is the container's own, empty at first and writable.
func Own(m specs.Mount) bool {
	return m.Type == OnDisk || m.Type == "tmpfs" && !OnScratch(m.Destination)
}

// rootlessMounts replaces what a rootless container cannot have: a sysfs of its own,
// which belongs to a network namespace, and devpts options for a group that has no id.
func (p *Plan) rootlessMounts(f Facts) {
	if !p.Rootless {
		return
	}
	for i := range p.Spec.Mounts {
		switch m := &p.Spec.Mounts[i]; m.Destination {
		case "/sys":
			if p.NetworkMode != "" {
				continue // its own network has a sysfs
			}
			*m = bindMount("/sys", "/sys", true, false)
		case "/dev/pts":
			if !f.HasIDs {
				m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") })
			}
		}
	}
}

// hostBinds adds the policy's binds. A private copy of /etc/passwd or /etc/group is
// mounted instead of the host's.
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

// bindMount returns a bind of the source with all mounts below it, as they are at the
// launch. A mount that the host makes there later does not appear, unless slave says
// so: it has the attributes of the host's mount, neither nosuid nor nodev, and could be
// a procfs. In a read-only bind it never appears, since it could be writable.
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
