package client

import (
	"fmt"
	"os"

	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/network"
	"mayfly/runtime/network/address"
)

// Network asks another container's supervisor for its network. It returns a descriptor
// of the network namespace, which the caller owns, and the lease of its address, which
// the caller must Release; nil: it has no address. The thread must act on files as
// root.
func Network(h here.Here, name string, owner uint32) (int, *network.Lease, error) {
	l := &Conn{here: h}
	if err := l.dial(ownedName{owner: owner, name: name}); err != nil {
		return -1, nil, fmt.Errorf("call the supervisor of %s: %w", name, err)
	}
	defer l.Close()
	r, files, err := l.ask(control.Request{Network: true}, replyWithin)
	switch {
	case err != nil:
		return -1, nil, err
	case len(files) == 1 && r.Address == 0:
		return files[0], nil, nil
	case len(files) == 2 && r.Address != 0:
		return files[0], network.JoinedLease(address.Address(r.Address), os.NewFile(uintptr(files[1]), "lease")), nil
	}
	file.CloseAll(files)
	return -1, nil, fmt.Errorf("container %s: its supervisor sent no network", name)
}
