package image

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// DebianMirror is the default mirror.
const DebianMirror = "http://deb.debian.org/debian"

// updated are the suites of Debian with updates and security updates on the mirror. Sid
// and experimental have none, and those of archived releases are elsewhere.
var updated = []string{"bullseye", "bookworm", "trixie", "forky", "oldoldstable", "oldstable", "stable", "testing"}

// Updates returns the lines of sources.list for a suite's updates and security updates.
// It returns none for a suite without updates.
func Updates(suite string, components []string) []string {
	if !slices.Contains(updated, suite) {
		return nil
	}
	if len(components) == 0 {
		components = []string{"main"}
	}
	list := strings.Join(components, " ")
	return []string{
		fmt.Sprintf("deb %s %s-updates %s", DebianMirror, suite, list),
		fmt.Sprintf("deb %s-security %s-security %s", DebianMirror, suite, list),
	}
}

// aptOption converts NAME=VALUE to the syntax of apt.conf(5).
func aptOption(option string) (string, error) {
	name, value, ok := strings.Cut(option, "=")
	foreign := func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/._+-", r)
	}
	if !ok || !strings.Contains(name, "::") || strings.ContainsFunc(name, foreign) || strings.ContainsAny(value, "\"\\\n\x00") {
		return "", fmt.Errorf("apt option %q: want NAME=VALUE as in apt.conf(5), such as %s", option, checkNoExpiry)
	}
	return fmt.Sprintf("%s %q;", name, value), nil
}

const checkNoExpiry = "Acquire::Check-Valid-Until=false"

// remedies map apt's messages about a repository that it refuses to advice.
var remedies = []struct{ said, remedy string }{
	{"is expired (invalid since", "the mirror is not kept up to date, or is an archive; " +
		"--apt-option " + checkNoExpiry + ", in a recipe apt-options, takes it as it is"},
	{"is not valid yet (invalid for another", "the clock of this machine is behind: set it"},
}

// remedy returns advice on the output of a bootstrap program, or "".
func remedy(said string) string {
	for _, r := range remedies {
		if strings.Contains(said, r.said) {
			return ": " + r.remedy
		}
	}
	return ""
}

// A tail passes a program's output on, and keeps the end of it.
type tail struct {
	to   io.Writer
	kept []byte
}

const maxTail = 16 << 10 // bytes

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if more := len(t.kept) - maxTail; more > 0 {
		t.kept = append(t.kept[:0], t.kept[more:]...)
	}
	return t.to.Write(b)
}
