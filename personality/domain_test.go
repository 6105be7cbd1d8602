package personality

import (
	goruntime "runtime"
	"testing"

	"mayfly/personality/arch"
)

// A thread takes on a domain for itself alone, and gives it back.
func TestAThreadTakesOnADomain(t *testing.T) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
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

// A domain is of the thread that has set it, and of no other.
func TestADomainIsOneThreads(t *testing.T) {
	before, set := Get(), make(chan uint32)
	go func() {
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		if err := Set(arch.Linux32); err != nil {
			t.Error(err)
		}
		set <- Get()
	}()
	if got := <-set; got != arch.Linux32 {
		t.Errorf("the thread has %#x", got)
	}
	if got := Get(); got != before {
		t.Errorf("another thread has %#x, before it had %#x", got, before)
	}
}
