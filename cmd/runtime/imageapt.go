package main

import (
	"fmt"

	"mayfly/runtime/image"
)

// findUpdates adds the release's updates and security updates, unless the recipe names
// sources. With a mirror it adds none, since the mirror may lack them, and warns.
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

// removeDownloads removes what apt has downloaded into a draft. If the draft had
// downloads before (their size is before), the image has them on purpose, and they
// stay.
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
