package plan

import (
	"path"
	"strings"
)

// Within tells whether a path is a directory or something in it.
func Within(name, dir string) bool {
	dir = strings.TrimSuffix(path.Clean(dir), "/")
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// OnScratch tells whether a mount belongs to one of those that are put together
// before the root file system is there.
func OnScratch(destination string) bool {
	for _, one := range Ours {
		if destination == one || strings.HasPrefix(destination, one+"/") {
			return true
		}
	}
	return false
}
