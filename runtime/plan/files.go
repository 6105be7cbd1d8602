package plan

import (
	"slices"
	"strings"

	"mayfly/runtime/policy/rule"
)

// A zone is the host's time zone, and what the image says about its own.
type zone struct {
	Name string // such as "Europe/Berlin"; "": the host does not tell
	// Data is the host's /etc/localtime, where the image does not have the zone
	// (tzfile(5)).
	Data    string
	InImage string // content of the image's /etc/timezone; "": it has none
}

// ZoneDirectory has the time zones by name.
const ZoneDirectory = "/usr/share/zoneinfo/"

// ChangesRoot tells whether the root file system is writable inside.
func (r Request) ChangesRoot() bool { return r.Writable || r.NoEphemeral || r.Session != "" }

// files adds the container's own files of /etc: as mounts, or where the root file
// system is writable as files in it.
func (p *Plan) files(r Request, f Facts) {
	name := p.Spec.Hostname
	hosts := f.Hosts
	if hosts == "" {
		hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	}
	if !strings.HasSuffix(hosts, "\n") {
		hosts += "\n"
	}
	for _, entry := range slices.Backward(r.AddHosts) { // the first of a name counts
		hosts = entry + "\n" + hosts
	}
	own := []File{{Path: "/etc/hosts", Content: hosts + "127.0.1.1\t" + name + "\n"}, {Path: "/etc/hostname", Content: name + "\n"}}
	outside := p.NetworkMode == rule.NetworkPrivate || p.NetworkMode == NetworkInterface
	if outside {
		own = append(own, File{Path: ResolvConf, Content: f.Servers})
	}
	if f.Zone.Name != "" && f.Zone.InImage != "" && f.Zone.InImage != f.Zone.Name {
		own = append(own, File{Path: Timezone, Content: f.Zone.Name + "\n"})
	}
	if !p.Spec.Root.Readonly {
		p.Root.Replace = append(own, f.copied(outside)...)
		return
	}
	for _, name := range HostFiles {
		if f.Present[name] && !(outside && name == ResolvConf) {
			p.Spec.Mounts = append(p.Spec.Mounts, bindMount(name, name, true, false))
		}
	}
	p.Files = append(p.Files, own...)
}

// copied are the host's files that are bound where the root file system is read-only.
func (f *Facts) copied(outside bool) []File {
	var list []File
	if f.Present[ResolvConf] && !outside {
		list = append(list, File{Path: ResolvConf, Content: f.Resolv})
	}
	switch {
	case f.Zone.Data != "":
		list = append(list, File{Path: Localtime, Content: f.Zone.Data})
	case f.Zone.Name != "":
		list = append(list, File{Path: Localtime, Link: ZoneDirectory + f.Zone.Name})
	}
	return list
}
