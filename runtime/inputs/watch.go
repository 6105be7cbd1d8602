// Package inputs records which files the processes of a container open: fanotify(7)
// marks on the container's own mounts, and a table of what they tell.
//
// Package rootfs makes a Watch and marks the mounts, on the launch's thread, before the
// command exists. Package supervisor reads it. An event is a descriptor of the file
// that was opened, which the kernel opens in this process whoever may read the file. It
// is asked for its path, closed, and given to nobody.
//
// A watch never holds up the container: what it is too slow for is lost, and the record
// says so.
package inputs

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Watch is a group of fanotify's with its marks.
type Watch struct {
	group int // descriptor
	wake  int // eventfd: the watch is to stop
	// namespace is a descriptor of the container's mount namespace, -1 for none. Paths
	// are those of a mount in its namespace, so that has to be there until the last
	// event was read, longer than the processes in it.
	namespace int
	fds       int    // descriptor of /proc/self/fd, while Read runs
	buffer    []byte // for events
	name      [unix.PathMax + 64]byte
	known     map[uint64]bool // ids of mounts that are watched, or left out
	lock      sync.Mutex      // of table
	table     table
	late      []string      // see Missed
	done      chan struct{} // closed when read has returned; nil: Start was not called
	err       error         // of read, valid then
}

const (
	events = unix.FAN_OPEN | unix.FAN_CLOSE_WRITE
	// reportErrors has the kernel tell in an event that it could not open the file
	// (Linux 6.13). An older one returns the error by read(2), and drops it where
	// another event came before: so of those one event is read at a time.
	reportErrors = 0x2000 // FAN_REPORT_FD_ERROR
	eventSize    = int(unsafe.Sizeof(unix.FanotifyEventMetadata{}))
	manyEvents   = 128 // in one read(2): each is a descriptor
	// lastEvents and lastTime bound what is read after Stop. More events than the queue
	// holds come from processes that the container's end has not ended: of the host, by
	// way of /proc/PID/root.
	lastEvents = 1 << 16
	lastTime   = 2 * time.Second
	// giveUp is how long Stop waits for the reader: the kernel opens a file for it,
	// which a file system of the caller's (FUSE) need not answer.
	giveUp = 5 * time.Second
)

// New makes a Watch without marks, which the caller must Stop. The thread needs
// CAP_SYS_ADMIN. See fanotify_init(2).
func New() (*Watch, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK
	const eventFlags = unix.O_RDONLY | unix.O_LARGEFILE | unix.O_CLOEXEC | unix.O_NONBLOCK
	w := &Watch{wake: -1, namespace: -1, known: map[uint64]bool{}, table: newTable()}
	many := manyEvents
	var err error
	if w.group, err = unix.FanotifyInit(flags|reportErrors, eventFlags); err == unix.EINVAL {
		many = 1
		w.group, err = unix.FanotifyInit(flags, eventFlags)
	}
	if err == nil {
		if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			unix.Close(w.group)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", err)
	}
	w.buffer = make([]byte, many*eventSize)
	return w, nil
}

// Keep gives the Watch the descriptor of the container's mount namespace, which it
// owns.
func (w *Watch) Keep(namespace int) { w.namespace = namespace }

// Mark watches the mount to which a path leads, relative to the open directory dir. id
// is the mount's. The thread needs CAP_SYS_ADMIN, and the right to read what is
// mounted. See fanotify_mark(2).
func (w *Watch) Mark(dir int, path string, id uint64) error {
	if err := unix.FanotifyMark(w.group, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, events, dir, path); err != nil {
		return fmt.Errorf("fanotify_mark: %w", err)
	}
	w.known[id] = true
	return nil
}

// Leave leaves out a mount: it is known, and not watched.
func (w *Watch) Leave(id uint64) { w.known[id] = true }

// Knows tells whether a mount is watched or left out.
func (w *Watch) Knows(id uint64) bool { return w.known[id] }

// Missed adds a reason why the record is not complete. Before Start it is called on the
// launch's thread, afterwards on the goroutine that calls Stop.
func (w *Watch) Missed(reason string) { w.late = append(w.late, reason) }

// pause is how long the reader waits after it has been woken: many events together cost
// less, and the same file opened again by the same process becomes one of them.
const pause = 5 * time.Millisecond

// Start reads events on a goroutine of its own, until Stop is called. It must be
// started in the host's mount namespace, and needs no capability.
func (w *Watch) Start() {
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		w.err = w.read()
	}()
}

func (w *Watch) read() (err error) {
	if w.fds, err = unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	defer unix.Close(w.fds)
	for {
		stopping, err := w.wait(int(pause.Milliseconds()))
		switch {
		case err != nil:
			return err
		case stopping:
			return w.readLast()
		}
		if _, err = w.readMany(); err == nil {
			stopping, err = w.wait(-1, unix.PollFd{Fd: int32(w.group), Events: unix.POLLIN})
		}
		switch {
		case err != nil:
			return err
		case stopping:
			return w.readLast()
		}
	}
}

// readLast reads the events that are left, within bounds.
func (w *Watch) readLast() error {
	for end, left := time.Now().Add(lastTime), lastEvents; left > 0 && time.Now().Before(end); {
		n, err := w.readMany()
		if n == 0 || err != nil {
			return err
		}
		left -= n
	}
	w.tell("files that were opened when the container had ended, by processes outside of it")
	return nil
}

// wait waits for one of some descriptors, and tells whether the watch is to stop.
func (w *Watch) wait(milliseconds int, others ...unix.PollFd) (stopping bool, err error) {
	list := append(others, unix.PollFd{Fd: int32(w.wake), Events: unix.POLLIN})
	for {
		_, err := unix.Poll(list, milliseconds)
		if err != unix.EINTR {
			return list[len(list)-1].Revents != 0, err
		}
	}
}

// readMany reads as many events as the kernel keeps by default, or all that are there,
// and returns their number.
func (w *Watch) readMany() (count int, err error) {
	for count < 1<<14 {
		n, err := unix.Read(w.group, w.buffer)
		switch {
		case err == unix.EAGAIN:
			return count, nil
		case err == unix.EINTR:
			continue
		case err != nil && len(w.buffer) > eventSize:
			return count, fmt.Errorf("read what was opened: %w", err)
		case err != nil: // of one event, see reportErrors
			w.unknown(err)
			count++
			continue
		}
		for rest := w.buffer[:n]; len(rest) >= eventSize; count++ {
			e := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&rest[0]))
			if int(e.Event_len) < eventSize || int(e.Event_len) > len(rest) {
				return count, fmt.Errorf("read what was opened: an event of %d bytes", e.Event_len)
			}
			w.take(e)
			rest = rest[e.Event_len:]
		}
	}
	return count, nil
}

// take enters an event into the table.
func (w *Watch) take(e *unix.FanotifyEventMetadata) {
	switch {
	case e.Mask&unix.FAN_Q_OVERFLOW != 0:
		w.tell("more files were opened at a time than the kernel's queue holds (fs.fanotify.max_queued_events)")
		return
	case e.Fd < 0:
		w.unknown(unix.Errno(-e.Fd))
		return
	}
	defer unix.Close(int(e.Fd))
	n, err := unix.Readlinkat(w.fds, strconv.Itoa(int(e.Fd)), w.name[:])
	if err != nil {
		w.unknown(err)
		return
	}
	name, gone := bytes.CutSuffix(w.name[:n], []byte(deleted))
	w.lock.Lock()
	defer w.lock.Unlock()
	w.table.add(name, gone, e.Mask&unix.FAN_OPEN != 0, e.Mask&unix.FAN_CLOSE_WRITE != 0)
}

// deleted is what the kernel writes behind the path of a file that has no name any
// more.
const deleted = " (deleted)"

// tell adds a reason why the record is not complete, on the reader's goroutine.
func (w *Watch) tell(reason string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.table.missed[reason]++
}

func (w *Watch) unknown(err error) {
	w.tell("files that were opened could not be looked at: " + err.Error())
}

// Stop ends the Watch and returns what it has recorded. The container's processes must
// have ended. It is back within some seconds, whatever the files are.
func (w *Watch) Stop() (Record, error) {
	if w.done == nil {
		w.close()
		return Record{}, nil
	}
	one := [8]byte{1}
	if _, err := unix.Write(w.wake, one[:]); err != nil {
		w.close()
		return Record{}, err
	}
	var err error
	select {
	case <-w.done:
		err = w.err
		w.close()
	case <-time.After(giveUp): // the reader keeps the descriptors
		w.Missed("what was opened last: the record could not be read to its end, perhaps since a file system does not answer")
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	r := w.table.record()
	r.Missed = append(r.Missed, w.late...)
	return r, err
}

func (w *Watch) close() {
	for _, fd := range []int{w.group, w.wake, w.namespace} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
