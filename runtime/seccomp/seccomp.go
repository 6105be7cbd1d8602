// Package seccomp holds the system-call filter that every command runs under.
//
// The filter is compiled when the project is built, not when a container is
// launched: `go generate` turns the profile (internal/compile/profile.go) and the
// system-call tables of a library into the classic-BPF programs of the zfilter files.
package seccomp

//go:generate go run ./gen
