package main

import (
	"fmt"

	"mayfly/runtime/image"
)

// findUpdates has the creation bring what a release has got since it was made, where
// the recipe leaves open where it comes from. A mirror may lack that: then it is said.
func (c *creation) findUpdates() {
	r := &c.recipe
	updates := image.Updates(r.Suite, r.Components)
	switch {
	case r.Sources != nil || updates == nil:
	case r.Mirror == "":
		c.updates = updates
	default:
		warn(fmt.Sprintf("with a mirror %s comes without updates and security updates: a recipe's sources can name them", r.Suite))
	}
}

// removeDownloads removes what apt has downloaded into a draft, unless there was such
// in it before: then the image has it on purpose.
func removeDownloads(draft *image.Draft, before int64) error {
	if before > 0 {
		return nil
	}
	bytes, err := draft.RemoveDownloads()
	if bytes > 0 {
		warn("removed what apt had downloaded, lists and packages: " + bytesOf(bytes))
	}
	return err
}
