// Package address has the addresses of private networks: blocks, and which one of a
// block is whose; and the ports that lead to them. It is pure: the policy names a block, package network gives its
// addresses out.
package address

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// An Address is an address of IP version 4.
type Address uint32

func (a Address) String() string { return netip.AddrFrom4(a.Bytes()).String() }

// Bytes returns the address in network byte order, as system calls take it.
func (a Address) Bytes() [4]byte {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(a))
	return b
}

// ParseAddress reads an address in its usual notation, and in no other: a file that is
// named after an address has one name.
func ParseAddress(text string) (a Address, ok bool) {
	parsed, err := netip.ParseAddr(text)
	if err != nil || !parsed.Is4() {
		return 0, false
	}
	return Of(parsed), true
}

func Of(a netip.Addr) Address {
	b := a.As4()
	return Address(binary.BigEndian.Uint32(b[:]))
}

// A Port is a TCP port of the host, and the container's port that connections to it
// reach.
type Port struct {
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
}

// A Range is a block of addresses. Its first address is the name of the block, the
// second is the bridge's, and the last one is for broadcasts.
type Range struct {
	First Address
	Bits  int // that are the same in all of them
}

// DefaultRange is the range of a policy that names none.
var DefaultRange = Range{10<<24 | 87<<16, 16}

// ParseRange reads a block such as 10.87.0.0/16, of eight addresses or more.
func Parse(text string) (Range, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 29 || p != p.Masked() {
		return Range{}, fmt.Errorf("%q is no range of addresses: want one such as 10.87.0.0/16, of /8 to /29", text)
	}
	return Range{Of(p.Addr()), p.Bits()}, nil
}

func (r Range) String() string { return fmt.Sprintf("%s/%d", r.First, r.Bits) }

// Gateway is the bridge's address.
func (r Range) Gateway() Address { return r.First + 1 }

// Count is how many containers can have an address.
func (r Range) Count() int { return 1<<(32-r.Bits) - 3 }

// At returns the address of the container with a number, from 0 to Count.
func (r Range) At(i int) Address { return r.First + 2 + Address(i) }
