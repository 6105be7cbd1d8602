package mount

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		words      []string
		set, clear uint64
		recursive  bool
		data       []string
	}{
		{nil, 0, 0, false, nil},
		{[]string{"rbind", "ro", "nosuid"}, unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, 0, true, nil},
		{[]string{"ro", "rw"}, 0, unix.MOUNT_ATTR_RDONLY, false, nil},
		{[]string{"rw", "ro"}, unix.MOUNT_ATTR_RDONLY, 0, false, nil},
		{[]string{"mode=1777", "size=1m", "nodev"}, unix.MOUNT_ATTR_NODEV, 0, false, []string{"mode=1777", "size=1m"}},
		{[]string{"noatime"}, unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME, false, nil},
		{[]string{"noatime", "strictatime"}, unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME, false, nil},
		{[]string{"bind", "private", "defaults"}, 0, 0, false, nil},
		{[]string{"rslave", "rprivate"}, 0, 0, false, nil},
	} {
		o := ParseOptions(c.words)
		if o.Set != c.set || o.Clear != c.clear || o.Recursive != c.recursive || !slices.Equal(o.Data, c.data) || o.Slave {
			t.Errorf("%q: %+v", c.words, o)
		}
	}
	if o := ParseOptions([]string{"rbind", "rslave"}); !o.Slave || !o.Recursive || o.Data != nil {
		t.Errorf("%+v", o)
	}
}
