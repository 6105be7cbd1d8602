package rootfs

// undo is a list of functions that close descriptors; the last one is called first.
// Closing the descriptor of a mount fails only if it is not open.
type undo []func() error

func (u *undo) add(f func() error) { *u = append(*u, f) }

// All calls the functions and empties the list.
func (u *undo) All() {
	for i := len(*u) - 1; i >= 0; i-- {
		_ = (*u)[i]()
	}
	*u = nil
}
