// This file lets the package declare functions without a body, which link.go
// binds to the Go runtime.
