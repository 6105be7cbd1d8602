// Package network gives a container a network of its own that leads outside. A pair of
// interfaces connects it with a bridge of Mayfly's: one end is in the container and has
// an address of the policy's range, the other end is a port of the bridge. The host
// translates addresses, and rules say who reaches which container.
//
// Packages launch and supervisor call it, package client for a network that is shared,
// and the command gc. A launch's locked thread calls Claim, Connect and Take in the host's
// network namespace, and Configure when it has entered the container's. The supervisor
// calls Release, and gc calls Collect, in the host's. Each function says what else the
// thread needs. All of them make system calls that act by the calling thread's
// capabilities, namespaces and ids for files. None of them keeps a socket open or
// starts a goroutine that makes such calls. Every wait for another caller's process has
// a limit.
//
// The package imports the project's packages for addresses, files and locks, package
// here, and package netlink. It knows nothing of plans, policies or images.
package network
