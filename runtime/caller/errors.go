package caller

import "errors"

// Errors of requests.
var (
	// ErrNotPermitted means that only root may ask for it.
	ErrNotPermitted = errors.New("only root may do this")
	// ErrNoGrant means that it takes a grant.
	ErrNoGrant = errors.New("not possible without a grant, which root gives with `runtime grant`")
)
