package personality

import (
	"runtime"
	"testing"

	"mayfly/personality/arch"
)

// A thread takes on a domain for itself alone, and gives it back.
func TestAThreadTakesOnADomain(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := Get()
	defer func() {
		if err := Set(before); err != nil {
			t.Error(err)
		}
	}()
	for _, domain := range []uint32{arch.Linux32, arch.Linux} {
		if err := Set(domain); err != nil {
			t.Fatal(err)
		}
		if got := Get(); got != domain {
			t.Errorf("domain %#x: is %#x", domain, got)
		}
	}
}
