package output

import (
	"golang.org/x/term"

	"mayfly/runtime/console"
)

// Streams are descriptors 0, 1 and 2 of a command: its own terminal (0: it has none)
// where the caller's is, else the caller's, or a pipe where something is between. The
// feed is nil where standard input is the caller's.
//
// The terminal of a caller in the background is read by a feed, which waits for the
// foreground: it is not the terminal of the command's session, so the kernel would not
// stop the command, and let it read what is typed for others.
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
