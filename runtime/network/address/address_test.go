package address

import "testing"

func TestARangeIsABlockOfEightAddressesOrMore(t *testing.T) {
	for text, want := range map[string]Range{
		"10.87.0.0/16":    DefaultRange,
		"10.0.0.0/8":      {10 << 24, 8},
		"192.168.7.8/29":  {192<<24 | 168<<16 | 7<<8 | 8, 29},
		"192.168.0.64/27": {192<<24 | 168<<16 | 64, 27},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if want.String() != text {
			t.Errorf("%s is written %s", text, want)
		}
	}
	for _, text := range []string{"", "10.87.0.0", "10.87.0.0/", "/16", "10.87.0.0/7", "10.87.0.0/30", "10.87.0.0/-8", "10.87.0.0/016",
		"10.87.0.1/16", "10.87.0.0/16 ", "10.87.0/16", "010.87.0.0/16", "10.87.0.0.0/16", "256.0.0.0/8", "fd00::/8", "::ffff:10.87.0.0/16"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is the range %v", text, got)
		}
	}
}

func TestEveryContainerHasAnAddressOfTheRange(t *testing.T) {
	for _, r := range []Range{DefaultRange, {10 << 24, 8}, {192<<24 | 168<<16 | 8, 29}} {
		size := Address(1) << (32 - r.Bits)
		if r.Gateway() != r.First+1 {
			t.Errorf("%v: the bridge has %v", r, r.Gateway())
		}
		first, last := r.At(0), r.At(r.Count()-1)
		if first != r.First+2 || last != r.First+size-2 {
			t.Errorf("%v: containers have %v to %v", r, first, last)
		}
	}
}

func TestAnAddressHasOneNotation(t *testing.T) {
	for text, want := range map[string]Address{"0.0.0.0": 0, "10.87.0.2": 10<<24 | 87<<16 | 2, "255.255.255.255": 1<<32 - 1} {
		got, ok := ParseAddress(text)
		if !ok || got != want || got.String() != text {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
		b := want.Bytes()
		if again := Address(b[0])<<24 | Address(b[1])<<16 | Address(b[2])<<8 | Address(b[3]); again != want {
			t.Errorf("the bytes of %s are %v", text, b)
		}
	}
	for _, text := range []string{"", "10.87.0", "10.87.0.2.", ".10.87.0.2", "10.87.0.02", "10.87.0.+2", "10.87.0.256", "10.87.0.0x2", "owner.10.87.0.2", "::1", "::ffff:10.87.0.2"} {
		if a, ok := ParseAddress(text); ok {
			t.Errorf("%q is the address %v", text, a)
		}
	}
}
