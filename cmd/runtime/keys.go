package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A keyboard gives the keys that are typed on standard input, one by one and without
// showing them, where that is a terminal and this program is in its foreground.
type keyboard struct {
	before *unix.Termios // nil: there is no terminal
	ended  chan os.Signal
}

// openKeyboard changes the terminal's modes. The caller must close it.
func openKeyboard() *keyboard {
	k := &keyboard{ended: make(chan os.Signal, 1)}
	signal.Notify(k.ended, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	if !term.IsTerminal(0) || !term.IsTerminal(1) || err != nil || group != unix.Getpgrp() {
		return k
	}
	modes, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return k
	}
	changed := *modes
	changed.Lflag &^= unix.ICANON | unix.ECHO
	changed.Cc[unix.VMIN], changed.Cc[unix.VTIME] = 0, 0
	if unix.IoctlSetTermios(0, unix.TCSETS, &changed) == nil {
		k.before = modes
	}
	return k
}

// close puts the terminal's modes back.
func (k *keyboard) close() {
	if k.before != nil {
		_ = unix.IoctlSetTermios(0, unix.TCSETS, k.before)
	}
	signal.Stop(k.ended)
}

// quits waits for some time, and returns whether the user has typed q or ended the
// program with a signal.
func (k *keyboard) quits(within time.Duration) bool {
	const often = 50 * time.Millisecond
	for end := time.Now().Add(within); ; {
		var key [16]byte
		if k.before != nil {
			n, _ := unix.Read(0, key[:])
			for _, c := range key[:max(n, 0)] {
				if c == 'q' || c == 'Q' || c == 4 { // Ctrl-D
					return true
				}
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		select {
		case <-k.ended:
			return true
		case <-time.After(min(often, left)):
		}
	}
}
