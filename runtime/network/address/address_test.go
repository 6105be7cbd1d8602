package address

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]Range{
		"10.87.0.0/16":     {10<<24 | 87<<16, 16},
		"192.168.8.248/29": {192<<24 | 168<<16 | 8<<8 | 248, 29},
		"10.0.0.0/8":       {10 << 24, 8},
	} {
		if r, err := Parse(text); err != nil || r != want || r.String() != text {
			t.Errorf("%s is %+v (%s), %v", text, r, r, err)
		}
	}
	for _, bad := range []string{"", "10.87.0.0", "10.87.0.0/7", "10.87.0.0/30", "10.87.0.1/16", "10.87.0/16", "10.87.00.0/16", "10.256.0.0/16", "10.87.0.0/x"} {
		if r, err := Parse(bad); err == nil {
			t.Errorf("%q is %s", bad, r)
		}
	}
}

// The first address is the block's name, the second the bridge's, the last for all: no container
// has one of them.
func TestContainersHaveTheAddressesThatAreLeft(t *testing.T) {
	r, err := Parse("10.87.0.0/29")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Gateway().String(); got != "10.87.0.1" {
		t.Errorf("the bridge has %s", got)
	}
	if first, last := r.At(0).String(), r.At(r.Count()-1).String(); first != "10.87.0.2" || last != "10.87.0.6" {
		t.Errorf("containers have %s to %s", first, last)
	}
}
