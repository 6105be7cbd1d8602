package mount

import "golang.org/x/sys/unix"

// Options are mount options of an OCI mount entry, sorted by who takes them.
type Options struct {
	Set, Clear uint64   // mount attributes, MOUNT_ATTR_*
	Recursive  bool     // a bind takes the mounts below its source along
	Slave      bool     // and follows what is mounted and unmounted there later
	Data       []string // the file system's own parameters
}

// attributes are the option words of mount(8), with what they set and clear. (A list: a
// map would be built at every start of a program.)
var attributes = []struct {
	word       string
	set, clear uint64
}{
	{"ro", unix.MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, unix.MOUNT_ATTR_RDONLY},
	{"nosuid", unix.MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, unix.MOUNT_ATTR_NOSUID},
	{"nodev", unix.MOUNT_ATTR_NODEV, 0},
	{"dev", 0, unix.MOUNT_ATTR_NODEV},
	{"noexec", unix.MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, unix.MOUNT_ATTR_NOEXEC},
	{"nosymfollow", unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"symfollow", 0, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"nodiratime", unix.MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, unix.MOUNT_ATTR_NODIRATIME},
	{"noatime", unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	{"relatime", unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	{"strictatime", unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
}

// ParseOptions sorts option words. A later word wins over an earlier one, as
// with mount(8); a word that names no attribute is the file system's.
func ParseOptions(words []string) Options {
	var o Options
	for _, word := range words {
		switch word {
		case "bind", "defaults":
		case "rbind":
			o.Recursive = true
		case "private", "rprivate":
			o.Slave = false
		case "slave", "rslave":
			o.Slave = true
		default:
			o.add(word)
		}
	}
	return o
}

func (o *Options) add(word string) {
	for _, a := range attributes {
		if a.word == word {
			o.Set = o.Set&^(a.set|a.clear) | a.set
			o.Clear = o.Clear&^a.set | a.clear
			return
		}
	}
	o.Data = append(o.Data, word)
}
