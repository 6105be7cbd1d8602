package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// A progress shows the progress of a long operation: on a terminal in one line that
// changes, elsewhere in a new line every ten seconds. It prints nothing in the first
// second.
type progress struct {
	what  string
	total int64 // bytes, 0: unknown
	done  atomic.Int64
	end   chan struct{}
	ended chan struct{}
}

// begin starts to show progress. The caller must call stop.
func begin(what string, total int64) *progress {
	p := &progress{what: what, total: total, end: make(chan struct{}), ended: make(chan struct{})}
	go p.show(term.IsTerminal(2))
	return p
}

// add adds n to the bytes done. Any goroutine may call it.
func (p *progress) add(n int64) { p.done.Add(n) }

func (p *progress) stop() {
	close(p.end)
	<-p.ended
}

func (p *progress) show(terminal bool) {
	defer close(p.ended)
	start, every, shown := time.Now(), 10*time.Second, false
	if terminal {
		every = 200 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.end:
			if shown && terminal {
				fmt.Fprint(os.Stderr, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		took := time.Since(start)
		if took < time.Second {
			continue
		}
		line := p.line(took)
		if terminal {
			fmt.Fprint(os.Stderr, "\r\x1b[K"+line)
		} else {
			fmt.Fprintln(os.Stderr, line)
		}
		shown = true
	}
}

func (p *progress) line(took time.Duration) string {
	done := p.done.Load()
	rate := int64(float64(done) / took.Seconds())
	if p.total <= 0 {
		return fmt.Sprintf("%s: %s, %s/s, %s", p.what, bytesOf(done), bytesOf(rate), took.Round(time.Second))
	}
	const width = 20
	part := min(width, int(done*width/p.total))
	return fmt.Sprintf("%s: [%s%s] %s of %s, %s/s", p.what, strings.Repeat("=", part), strings.Repeat(" ", width-part),
		bytesOf(done), bytesOf(p.total), bytesOf(rate))
}

// bytesOf formats a number of bytes for people.
func bytesOf(n int64) string {
	unit, value := 0, float64(n)
	for ; value >= 1000 && unit < 4; unit++ {
		value /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// isTerminal says whether the user can be asked a question.
func isTerminal() bool { return term.IsTerminal(0) && term.IsTerminal(2) }

func isTerminalOut() bool { return term.IsTerminal(1) }
