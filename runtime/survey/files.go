package survey

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// maxZone bounds what is read of a time zone, maxName what is read of a name, in bytes.
const maxZone, maxName = 1 << 16, 256

// findZone finds the host's time zone by the target of the link /etc/localtime.
func (f *finder) findZone() {
	link, err := os.Readlink(plan.Localtime)
	if _, name, ok := strings.Cut(link, plan.ZoneDirectory); err == nil && ok {
		f.Zone.Name = name
	}
}

// findImageZone finds which time zone the image names, and whether it has the host's.
func (f *finder) findImageZone(inside mount.Root, r plan.Request) {
	if f.Zone.Name == "" && !r.ChangesRoot() {
		return
	}
	f.Zone.InImage = strings.TrimSpace(readInside(inside, plan.Timezone, maxName))
	if !r.ChangesRoot() {
		return
	}
	target, err := inside.Name(plan.ZoneDirectory + f.Zone.Name)
	if err == nil {
		target.Close()
	}
	if err != nil || f.Zone.Name == "" {
		data, _ := file.Read(plan.Localtime, maxZone)
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

// maxHosts bounds what a container's /etc/hosts takes over from the host's, in bytes.
const maxHosts = 1 << 20

// findHostFiles finds which of the host's files exist, and reads those that are copied.
func (f *finder) findHostFiles(r plan.Request) {
	f.Present = map[string]bool{}
	for i, list := range [][]string{plan.HostFiles, f.Policy.BindReadOnly, f.Policy.Bind} {
		for _, name := range list {
			id, err := identify(name)
			if err == nil && i > 0 && !r.NoEphemeral {
				f.Bound = append(f.Bound, plan.BoundSource{FileID: id, Destination: name})
			}
			if errors.Is(err, unix.EACCES) { // the path may be closed to the caller
				err = privilege.AsRoot(f.here, privilege.None, func() error {
					_, err := os.Lstat(name)
					return err
				})
			}
			f.Present[name] = err == nil
		}
	}
	if hosts, err := file.Read("/etc/hosts", maxHosts); err == nil {
		f.Hosts = string(hosts)
	}
	if f.Private(r) {
		f.Servers = nameServers()
	}
	f.findZone()
	if r.ChangesRoot() {
		resolv, _ := file.Read(plan.ResolvConf, maxHosts)
		f.Resolv = string(resolv)
	}
}
