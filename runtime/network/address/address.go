// Package address has the addresses of private networks: blocks, and which one of a block is whose. It
// is pure: the policy names a block, package network gives its addresses out.
package address

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// An Address is one of IP version 4.
type Address uint32

func (a Address) String() string {
	b := a.Slice()
	return fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
}

func (a Address) Slice() []byte { return binary.BigEndian.AppendUint32(nil, uint32(a)) }

// Bytes are the address as system calls take it.
func (a Address) Bytes() [4]byte { return [4]byte(a.Slice()) }

// A Range is a block of addresses. Its first is the block's own name, the second the bridge's, the last for all.
type Range struct {
	First Address
	Bits  int // that are the same in all of them
}

// DefaultRange is what the policy has where it says nothing.
var DefaultRange = Range{10<<24 | 87<<16, 16}

// ParseRange reads a block such as 10.87.0.0/16, of eight addresses or more.
func Parse(text string) (Range, error) {
	name, bits, _ := strings.Cut(text, "/")
	first, ok := ParseAddress(name)
	n, err := strconv.Atoi(bits)
	if !ok || err != nil || n < 8 || n > 29 || uint32(first)&(1<<(32-n)-1) != 0 {
		return Range{}, fmt.Errorf("%q is no range of addresses: want one such as 10.87.0.0/16, of /8 to /29", text)
	}
	return Range{first, n}, nil
}

func ParseAddress(text string) (a Address, ok bool) {
	parts := strings.Split(text, ".")
	for _, p := range parts {
		b, err := strconv.ParseUint(p, 10, 8)
		if err != nil || strconv.FormatUint(b, 10) != p {
			return 0, false
		}
		a = a<<8 | Address(b)
	}
	return a, len(parts) == 4
}

func (r Range) String() string { return fmt.Sprintf("%s/%d", r.First, r.Bits) }

// Gateway is the bridge's address.
func (r Range) Gateway() Address { return r.First + 1 }

// Count is how many containers can have an address.
func (r Range) Count() int { return 1<<(32-r.Bits) - 3 }

// At is the address of a container, by number.
func (r Range) At(i int) Address { return r.First + 2 + Address(i) }
