package nsexec

import goruntime "runtime"

// Processors lets at least n goroutines run at a time. A lean program has one processor
// for goroutines (the entry point in package main sees to that). A goroutine in a system
// call keeps it, for up to two milliseconds, from others that could run: those that copy
// between descriptors, for instance. All goroutines stop for a moment.
func Processors(n int) {
	if goruntime.GOMAXPROCS(0) < n {
		goruntime.GOMAXPROCS(n)
	}
}

// ForCopying is how many processors are enough for a terminal or three pipes.
const ForCopying = 4
