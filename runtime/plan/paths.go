package plan

import (
	"path"
	"strings"
)

// Within tells whether a path is dir or lies in it. It compares names only.
func Within(name, dir string) bool {
	dir = strings.TrimSuffix(path.Clean(dir), "/")
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// OnScratch tells whether a path is one of Ours or lies in one: rootfs.BuildScratch
// mounts there before the root file system exists.
func OnScratch(destination string) bool {
	for _, one := range OwnFilesystems {
		if destination == one || strings.HasPrefix(destination, one+"/") {
			return true
		}
	}
	return false
}
