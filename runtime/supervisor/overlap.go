//go:build !mayfly_sequential

package supervisor

// overlap: the snapshot is made while the launch's thread sets up the rest of the
// container. The build tag mayfly_sequential turns it off, to measure what it saves.
const overlap = true
