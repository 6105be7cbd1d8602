package image

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
)

// Release returns the variables of the image's os-release(5), without quotes. An image
// without the file has none.
func (i *Image) Release() (map[string]string, error) {
	const most = 64 << 10
	found := map[string]string{}
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		fd, err := mount.RootAt(i.fd).OpenRegular(name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("image %s: open %s: %w", i, name, err)
		}
		data, err := file.ReadFD(fd, most)
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("image %s: read %s: %w", i, name, err)
		}
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				found[key] = strings.Trim(value, `"'`)
			}
		}
		break
	}
	return found, nil
}
