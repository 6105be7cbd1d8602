//go:build mayfly_sequential

package supervisor

const overlap = false
