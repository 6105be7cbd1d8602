package runtime

import "mayfly/runtime/console"

// anotherUser tells that the command has another user id on the host than the caller.
// Another process with that id may take descriptors out of its processes (pidfd_getfd(2)):
// with the caller's terminal they could read what the caller types for other programs,
// and write on the screen in their name.
func (p *Plan) anotherUser() bool { return p.SetIDs || p.rootInside() }

// streams are descriptors 0, 1 and 2 of a command that has no terminal of its own: the
// caller's, or a pipe where something is between. The feed is nil where standard input
// is the caller's.
//
// The terminal of a caller in the background is read by a feed, which waits for the
// foreground: it is not the terminal of the command's session, so the kernel would not
// stop the command, and let it read what is typed for others.
func streams(anotherUser bool, o *output) (files [3]uintptr, feed *console.Feed, err error) {
	files = [3]uintptr{0, 1, 2}
	if anotherUser && console.IsDevice(0) || console.InBackground(0) {
		if feed, err = console.NewFeed(0); err != nil {
			return files, nil, err
		}
		files[0] = uintptr(feed.Command())
	}
	if o != nil {
		pipes, err := o.pipes()
		if err != nil {
			return files, feed, err
		}
		files[1], files[2] = pipes[0], pipes[1]
	}
	return files, feed, nil
}
