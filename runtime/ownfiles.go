package runtime

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/image"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/policy/rule"
)

// Files of /etc that every container has its own of: host names, name servers, the time
// zone. Over a root file system that nobody can write to they are mounted. In one that
// can be written to they are plain files: a package manager puts a new file in the
// place of an old one, which the kernel refuses (EBUSY) of one that something is
// mounted on.

// A zone is the host's time zone, and what the image says of its own.
type zone struct {
	Name    string // as "Europe/Berlin"; "": the host does not tell
	Data    string // the host's /etc/localtime, where the image does not have the zone; see tzfile(5)
	InImage string // what the image's /etc/timezone says; "": it has none
}

// zoneDirectory is where zones are, by name.
const zoneDirectory = "/usr/share/zoneinfo/"

// maxZone bounds what is read of a time zone, maxName what is read of a name, in bytes.
const maxZone, maxName = 1 << 16, 256

// findZone finds the host's time zone by the link that /etc/localtime is.
func (f *Facts) findZone() {
	link, err := os.Readlink(localtime)
	if _, name, ok := strings.Cut(link, zoneDirectory); err == nil && ok {
		f.Zone.Name = name
	}
}

// findImageZone looks what the image has of it.
func (f *Facts) findImageZone(inside mount.Root, r Request) {
	if f.Zone.Name == "" && !r.changesRoot() {
		return
	}
	f.Zone.InImage = strings.TrimSpace(readInside(inside, timezone, maxName))
	if !r.changesRoot() {
		return
	}
	target, err := inside.Name(zoneDirectory + f.Zone.Name)
	if err == nil {
		target.Close()
	}
	if err != nil || f.Zone.Name == "" {
		data, _ := file.Read(localtime, maxZone)
		f.Zone.Data = string(data)
	}
}

// readInside reads a small file of an image, "" where there is none.
func readInside(inside mount.Root, name string, most int) string {
	fd, err := inside.OpenRegular(name)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	data, _ := file.ReadFD(fd, most)
	return string(data)
}

// changesRoot tells whether the command's root file system can be written to.
func (r Request) changesRoot() bool { return r.Writable || r.NoEphemeral || r.Session != "" }

// files adds the container's own files of /etc.
func (p *Plan) files(f Facts) {
	name := p.Spec.Hostname
	hosts := f.Hosts
	if hosts == "" {
		hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	}
	if !strings.HasSuffix(hosts, "\n") {
		hosts += "\n"
	}
	own := []File{{Path: "/etc/hosts", Content: hosts + "127.0.1.1\t" + name + "\n"}, {Path: "/etc/hostname", Content: name + "\n"}}
	outside := p.NetworkMode == rule.NetworkPrivate || p.NetworkMode == networkInterface
	if outside {
		own = append(own, File{Path: resolvConf, Content: f.Servers})
	}
	if f.Zone.Name != "" && f.Zone.InImage != "" && f.Zone.InImage != f.Zone.Name {
		own = append(own, File{Path: timezone, Content: f.Zone.Name + "\n"})
	}
	if !p.Spec.Root.Readonly {
		p.Replace = append(own, f.copied(outside)...)
		return
	}
	for _, name := range hostFiles {
		if f.Present[name] && !(outside && name == resolvConf) {
			p.Spec.Mounts = append(p.Spec.Mounts, bindMount(name, name, true, false))
		}
	}
	p.Files = append(p.Files, own...)
}

// copied are the host's files that are mounted elsewhere.
func (f *Facts) copied(outside bool) []File {
	var list []File
	if f.Present[resolvConf] && !outside {
		list = append(list, File{Path: resolvConf, Content: f.Resolv})
	}
	switch {
	case f.Zone.Data != "":
		list = append(list, File{Path: localtime, Content: f.Zone.Data})
	case f.Zone.Name != "":
		list = append(list, File{Path: localtime, Link: zoneDirectory + f.Zone.Name})
	}
	return list
}

// replace puts the plan's files into the root file system. An image that is being
// changed gets its own ones back, see restore; in a session stays what somebody has changed
// there. The thread must act on files as root of it.
func (s *rootSource) replace(p *Plan, img *image.Image) error {
	for _, f := range p.Replace {
		r := &mount.Replacement{Name: f.Path, Content: f.Content, Link: f.Link, KeepOld: !p.Ephemeral, KeepChanged: p.Session != ""}
		if err := mount.RootAt(s.tree.FD()).Put(r); err != nil {
			return err
		}
		if !r.KeepOld {
			continue
		}
		if err := mount.RootAt(img.FD()).Remember(r); err != nil {
			return err
		}
		s.replaced = append(s.replaced, r)
	}
	return nil
}

// restore takes the container's files out of an image that was changed: they are of this
// machine, and no part of it. Every process of the container must have ended.
func (s *rootSource) restore() error {
	var errs []error
	for _, r := range s.replaced {
		errs = append(errs, r.TakeBack())
	}
	return errors.Join(errs...)
}
