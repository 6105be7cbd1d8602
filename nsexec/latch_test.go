package nsexec

import (
	goruntime "runtime"
	"sync"
	"testing"
	"time"
)

func TestALatchHoldsUntilItIsOpened(t *testing.T) {
	var l Latch
	var through sync.WaitGroup
	passed := make(chan struct{}, 3)
	for range cap(passed) {
		through.Go(func() {
			goruntime.LockOSThread()
			l.Wait()
			passed <- struct{}{}
		})
	}
	time.Sleep(10 * time.Millisecond)
	if len(passed) > 0 {
		t.Errorf("%d have passed a closed latch", len(passed))
	}
	l.Open()
	through.Wait()
	l.Open()
	l.Wait()
}
