package mount

import "golang.org/x/sys/unix"

// Options are the options of an OCI mount entry, sorted by what takes them.
type Options struct {
	Set, Clear uint64   // attributes of the mount (Tree.SetAttrs)
	Recursive  bool     // a bind includes the mounts below its source (Clone)
	Slave      bool     // a bind is a slave of its source (CloneSlave)
	Data       []string // parameters of the file system (New)
}

// attributes are the option words of mount(8) that name attributes of a mount, with
// what they set and clear. Nothing writes to it. (A map would be built at each start of
// the program.)
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

// ParseOptions sorts option words. Of words that contradict each other the last one
// counts, as with mount(8). A word that names no attribute is the file system's. It is
// a pure function.
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
