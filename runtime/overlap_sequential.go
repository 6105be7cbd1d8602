//go:build mayfly_sequential

package runtime

const overlap = false
