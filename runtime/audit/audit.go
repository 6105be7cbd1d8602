// Package audit tells the system's log who ran what. One event is one structured line, in
// the journal where systemd-journald is present, else by syslog.
package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Identifier is what the events are logged under.
const Identifier = "mayfly"

// The sockets of the two logs.
const (
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
)

// Decisions.
const (
	Allowed = "allowed"
	Refused = "refused" // by the policy, or because the request made no sense
	Failed  = "failed"  // allowed, and could not be done
)

// An Event is a launch that has ended, or one that was refused.
type Event struct {
	UID       uint32
	User      string // "": no name is known
	Image     string
	Container string // "": there was none
	Command   []string
	Decision  string
	Rule      string // FILE:LINE
	Result    string // how the command ended, or why there was none
	Duration  time.Duration
}

// A field is a name and a value, which has no control characters.
type field struct{ name, value string }

// maxCommand bounds what is logged of a command, in bytes.
const maxCommand = 1024

func (e Event) fields() []field {
	command := strings.Builder{}
	for i, arg := range e.Command {
		if i > 0 {
			command.WriteByte(' ')
		}
		if arg == "" || strings.ContainsAny(arg, " \"\\") {
			arg = strconv.Quote(arg)
		}
		command.WriteString(arg)
		if command.Len() > maxCommand {
			break
		}
	}
	return []field{
		{"uid", strconv.FormatUint(uint64(e.UID), 10)},
		{"user", clean(e.User, 64)},
		{"image", clean(e.Image, 128)},
		{"container", clean(e.Container, 64)},
		{"command", clean(command.String(), maxCommand)},
		{"decision", e.Decision},
		{"rule", clean(e.Rule, 256)},
		{"result", clean(e.Result, maxCommand)},
		{"duration", strconv.FormatFloat(e.Duration.Seconds(), 'f', 3, 64)},
	}
}

// clean escapes what could end a line or speak to a terminal, and bounds the length.
func clean(text string, limit int) string {
	var b strings.Builder
	for _, c := range text[:min(len(text), limit)] {
		if unicode.IsGraphic(c) {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "\\u%04x", c)
		}
	}
	return b.String()
}

// journal is the event in the native protocol of systemd-journald.
func (e Event) journal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "SYSLOG_IDENTIFIER=%s\nPRIORITY=%d\nMESSAGE=%s\n", Identifier, e.priority(), e.line())
	for _, f := range e.fields() {
		fmt.Fprintf(&b, "MAYFLY_%s=%s\n", strings.ToUpper(f.name), f.value)
	}
	return []byte(b.String())
}

// line is the event as name=value, for people and for syslog.
func (e Event) line() string {
	var b strings.Builder
	for i, f := range e.fields() {
		if i > 0 {
			b.WriteByte(' ')
		}
		value := f.value
		if value == "" || strings.ContainsAny(value, " \"=") {
			value = strconv.QuoteToGraphic(value)
		}
		b.WriteString(f.name + "=" + value)
	}
	return b.String()
}

// Numbers of syslog(3).
const (
	levelNotice      = 5
	levelInfo        = 6
	facilityAuthpriv = 10 << 3
)

func (e Event) priority() int {
	if e.Decision == Allowed {
		return levelInfo
	}
	return levelNotice
}

// syslog is the event as a datagram of syslog(3).
func (e Event) syslog(pid int, now time.Time) []byte {
	return fmt.Appendf(nil, "<%d>%s %s[%d]: %s", facilityAuthpriv|e.priority(), now.UTC().Format(time.Stamp), Identifier, pid, e.line())
}

// Send logs the event, and does not wait for a log that is slow: a build is worth more. The
// thread needs CAP_SETUID and CAP_SETGID where it is not root's: the event bears root's
// credentials, by which a reader tells it from one that a user made up.
func (e Event) Send() error {
	err := send(journalSocket, e.journal())
	if err == unix.ENOENT || err == unix.ECONNREFUSED {
		err = send(syslogSocket, e.syslog(unix.Getpid(), time.Now()))
	}
	if err == unix.ENOENT || err == unix.ECONNREFUSED {
		return nil // there is no log
	}
	if err != nil {
		return fmt.Errorf("write to the system's log: %w", err)
	}
	return nil
}

func send(socket string, datagram []byte) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	credentials := unix.UnixCredentials(&unix.Ucred{Pid: int32(unix.Getpid())})
	return unix.Sendmsg(fd, datagram, credentials, &unix.SockaddrUnix{Name: socket}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}
