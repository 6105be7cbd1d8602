package rootfs

// undo is a list of descriptors to close, last first. Closing a mount's descriptor
// can fail only for one that is not open.
type undo []func() error

func (u *undo) add(f func() error) { *u = append(*u, f) }

func (u *undo) All() {
	for i := len(*u) - 1; i >= 0; i-- {
		_ = (*u)[i]()
	}
	*u = nil
}
