// Package audit writes to the system's log who ran what, and who changed images. An
// is one structured line: in the journal if systemd-journald is there, else by
// syslog(3). Package runtime calls it for launches, the client for `exec`, session and
// package main for changes; on any thread.
package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"mayfly/runtime/printable"
)

// Identifier is the name of the program in the log.
const Identifier = "mayfly"

// Kinds of events. A container has a Start and an End, or a Refusal. A command that
// changes sessions or images has two events with its own name: one before the change,
// one after it.
const (
	Start   = "start"
	End     = "end"
	Refusal = "refusal"
	Exec    = "exec"
)

// Decisions of an event.
const (
	Allowed = "allowed"
	Refused = "refused" // by the policy, or for lack of a right
	Failed  = "failed"  // allowed, but it could not be done, or was no valid request
)

// An Event is what one line of the log tells.
type Event struct {
	Kind      string
	UID       uint32
	User      string // "": not known
	Image     string
	Version   int    // 0: none, or not known
	Digest    string // of the version; "": not known
	Session   string // "": none
	Container string // "": none
	Command   []string
	Dir       string // the command's working directory; "": not told
	Decision  string
	Rule      string // FILE:LINE
	Result    string // how it ended, or why it was refused; "": it begins
	Duration  time.Duration
	Lost      int // how many earlier events of this call were lost
}

// A field is a name and a value. The value has no control characters.
type field struct{ name, value string }

// maxCommand is the size limit of a logged command, in bytes.
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
	list := []field{
		{"event", e.Kind},
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
	// The other fields are there only if they have a value.
	if e.Version != 0 {
		list = append(list, field{"version", strconv.Itoa(e.Version)})
	}
	for _, f := range []field{{"digest", clean(e.Digest, 128)}, {"session", clean(e.Session, 64)}, {"dir", clean(e.Dir, maxCommand)}} {
		if f.value != "" {
			list = append(list, f)
		}
	}
	if e.Lost != 0 {
		list = append(list, field{"lost", strconv.Itoa(e.Lost)})
	}
	return list
}

// clean escapes what could end a line or control a terminal, and limits the length in
// bytes.
func clean(text string, limit int) string { return printable.Text(text[:min(len(text), limit)]) }

// journal returns the event in the native protocol of systemd-journald.
func (e Event) journal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "SYSLOG_IDENTIFIER=%s\nPRIORITY=%d\nMESSAGE=%s\n", Identifier, e.priority(), e.line())
	for _, f := range e.fields() {
		fmt.Fprintf(&b, "MAYFLY_%s=%s\n", strings.ToUpper(f.name), f.value)
	}
	return []byte(b.String())
}

// line returns the event as name=value pairs, for people and for syslog.
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

// Levels and facility of syslog(3).
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

// syslog returns the event as a datagram for /dev/log.
func (e Event) syslog(pid int, now time.Time) []byte {
	return fmt.Appendf(nil, "<%d>%s %s[%d]: %s", facilityAuthpriv|e.priority(), now.UTC().Format(time.Stamp), Identifier, pid, e.line())
}
