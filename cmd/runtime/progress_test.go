package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// A screen is where a progress is shown.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func shown(live bool) (*progress, *screen) {
	s := &screen{}
	p := &progress{what: "create x", to: s, live: live, end: make(chan struct{}), phase: "check", began: time.Now()}
	p.done.Go(p.show)
	return p, s
}

// sooner lets the phase have begun a while ago.
func (p *progress) sooner(by time.Duration) {
	p.mu.Lock()
	p.began = p.began.Add(-by)
	p.mu.Unlock()
	time.Sleep(500 * time.Millisecond)
}

func TestALogHasALineForEachPhase(t *testing.T) {
	p, s := shown(false)
	p.sooner(time.Minute)
	for _, line := range []string{"I: downloading packages with apt...\n", "I: running hooks\n", "I: extr", "acting archives...\n", "I: unpacking more\n"} {
		if _, err := p.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		p.sooner(time.Minute)
	}
	p.next("seal", 0) // it is over at once
	p.stop()
	want := "create x: check\nI: downloading packages with apt...\ncreate x: download\nI: running hooks\nI: extracting archives...\ncreate x: unpack\nI: unpacking more\n"
	if got := s.shows(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestATerminalShowsAPhaseAndNoProgramsLineIsBroken(t *testing.T) {
	p, s := shown(true)
	p.sooner(35 * time.Second)
	p.Write([]byte("said "))
	p.sooner(0)
	p.Write([]byte("whole\n"))
	p.next("seal", 4<<20)
	p.add(1 << 20)
	p.sooner(9500 * time.Millisecond)
	p.hold(true)
	p.Write([]byte("the command's\n"))
	p.sooner(0)
	p.stop()
	const clear = "\r\x1b[K"
	got := s.shows()
	for _, want := range []string{clear + "create x: check, 35s", clear + "said whole\n", clear + "create x: seal, 10s: [=====               ] 1.0 MiB of 4.0 MiB, "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(got, "0 B") || !strings.HasSuffix(got, clear+"the command's\n") {
		t.Errorf("%q", got)
	}
}
