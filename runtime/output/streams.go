package output

import (
	"golang.org/x/term"

	"mayfly/runtime/console"
)

// Streams returns descriptors 0, 1 and 2 of a command. Each is the command's own
// terminal (its descriptor; 0: it has none) if the caller's is a terminal; else the
// caller's, or a pipe if the output is copied. The Output and the Feed own the pipes.
// The Feed is nil if standard input is the caller's own.
//
// If the caller is in the background of a terminal, a Feed reads it and waits for the
// foreground. The command must not read it itself: it belongs to another session, so
// the kernel would not stop the command, and it could read what is typed for others.
func Streams(anotherUser bool, o *Output, terminal int) (files [3]uintptr, feed *console.Feed, err error) {
	for i := range files {
		files[i] = uintptr(i)
		if terminal > 0 && term.IsTerminal(i) {
			files[i] = uintptr(terminal)
		}
	}
	if files[0] == 0 && (anotherUser && console.IsDevice(0) || console.InBackground(0)) {
		if feed, err = console.NewFeed(0); err != nil {
			return files, nil, err
		}
		files[0] = uintptr(feed.Command())
	}
	if o != nil && o.piped != [2]bool{} {
		pipes, err := o.Pipes()
		if err != nil {
			return files, feed, err
		}
		for i, piped := range o.piped {
			if piped {
				files[i+1] = pipes[i]
			}
		}
	}
	return files, feed, nil
}
