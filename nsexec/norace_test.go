//go:build !race

package nsexec

const usesCgo = false
