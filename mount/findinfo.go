package mount

import "slices"

// MaxInfo bounds what is read of a mountinfo, in bytes.
const MaxInfo = 64 << 20

// FindInfo finds a mount in the text of a mountinfo (proc_pid_mountinfo(5)) by its id.
func FindInfo(text []byte, id uint64) (m Info, listed bool) {
	mounts, err := ParseInfo(string(text))
	i := slices.IndexFunc(mounts, func(m Info) bool { return m.ID == id })
	if err != nil || i < 0 {
		return m, false
	}
	return mounts[i], true
}
