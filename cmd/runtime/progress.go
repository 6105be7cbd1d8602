package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"mayfly/runtime/image"
)

// A progress shows how far a long operation is. On a terminal that is one line that
// changes, with the phase, its time, and bytes where they are counted; elsewhere a line
// for each phase. It prints nothing of what takes less than a second.
type progress struct {
	what string
	to   io.Writer // standard error
	live bool      // it is a terminal
	end  chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	phase string
	began time.Time // the phase
	total int64     // bytes of the phase; 0: unknown
	bytes int64     // so many are done; 0: none are counted
	shown bool      // the phase, or the line on the terminal
	line  []byte    // what Write got of an unfinished line
	held  bool      // somebody else writes to the terminal
}

// begin starts to show progress, in a first phase. The caller must call stop.
func begin(what, phase string, total int64) *progress {
	p := &progress{what: what, to: os.Stderr, live: term.IsTerminal(2), end: make(chan struct{}), phase: phase, total: total, began: time.Now()}
	p.done.Go(p.show)
	return p
}

// next begins another phase.
func (p *progress) next(phase string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if phase != p.phase {
		p.clear()
		p.phase, p.total, p.bytes, p.began, p.shown = phase, total, 0, time.Now(), false
	}
}

// add adds n to the bytes done. Any goroutine may call it.
func (p *progress) add(n int64) {
	p.mu.Lock()
	p.bytes += n
	p.mu.Unlock()
}

// Write prints what a program says, without the progress getting into its lines, and
// takes the phase from it.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	p.clear()
	n, err := p.to.Write(text)
	p.line = append(p.line, text...)
	var phase string
	for {
		line, rest, whole := bytes.Cut(p.line, []byte("\n"))
		if !whole {
			break
		}
		p.line = rest
		if found := image.PhaseOf(string(line)); found != "" {
			phase = found
		}
	}
	if len(p.line) > 4096 {
		p.line = nil
	}
	p.mu.Unlock()
	if phase != "" {
		p.next(phase, 0)
	}
	return n, err
}

// hold keeps the progress from the terminal, which a command uses, until it is called
// with false.
func (p *progress) hold(on bool) {
	p.mu.Lock()
	p.clear()
	p.held = on
	p.mu.Unlock()
}

func (p *progress) stop() {
	close(p.end)
	p.done.Wait()
}

// clear takes the line from the terminal. The caller holds the lock.
func (p *progress) clear() {
	if p.live && p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) show() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.end:
			p.mu.Lock()
			p.clear()
			p.mu.Unlock()
			return
		case <-tick.C:
		}
		p.mu.Lock()
		switch took := time.Since(p.began); {
		case took < time.Second || p.held || len(p.line) > 0: // a program's line is not finished
		case p.live:
			fmt.Fprint(p.to, "\r\x1b[K"+p.text(took))
			p.shown = true
		case !p.shown:
			fmt.Fprintf(p.to, "%s: %s\n", p.what, p.phase)
			p.shown = true
		}
		p.mu.Unlock()
	}
}

// text is the line on the terminal.
func (p *progress) text(took time.Duration) string {
	name, seconds := p.what+": "+p.phase, took.Round(time.Second)
	if p.bytes == 0 {
		return fmt.Sprintf("%s, %s", name, seconds)
	}
	rate := int64(float64(p.bytes) / took.Seconds())
	if p.total <= 0 {
		return fmt.Sprintf("%s, %s: %s, %s/s", name, seconds, bytesOf(p.bytes), bytesOf(rate))
	}
	const width = 20
	part := min(width, int(p.bytes*width/p.total))
	return fmt.Sprintf("%s, %s: [%s%s] %s of %s, %s/s", name, seconds, strings.Repeat("=", part), strings.Repeat(" ", width-part),
		bytesOf(p.bytes), bytesOf(p.total), bytesOf(rate))
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
