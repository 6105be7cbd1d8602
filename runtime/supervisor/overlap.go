//go:build !mayfly_sequential

package supervisor

// overlap makes the snapshot while the rest of the container is being set up. The
// build tag turns it off, to measure what it is worth.
const overlap = true
