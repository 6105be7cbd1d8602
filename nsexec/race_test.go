//go:build race

package nsexec

// usesCgo: the race detector brings cgo along.
const usesCgo = true
