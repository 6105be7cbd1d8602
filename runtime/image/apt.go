package image

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
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

// PhaseOf returns what a line of a bootstrap program's begins: "download", "unpack" or
// "configure"; "" if it is none of them.
func PhaseOf(line string) string {
	text, is := strings.CutPrefix(line, "I: ")
	if !is {
		return ""
	}
	text = strings.ToLower(text)
	for _, p := range [...]struct{ word, phase string }{{"downloading ", "download"}, {"retrieving ", "download"}, {"running apt-get update", "download"},
		{"extracting ", "unpack"}, {"unpacking ", "unpack"}, {"installing ", "configure"}, {"configuring ", "configure"}} {
		if strings.HasPrefix(text, p.word) {
			return p.phase
		}
	}
	return ""
}

var noPackage = regexp.MustCompile(`(?m)^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)`)

// checkPackages refuses packages that a mirror's index does not have, before anything
// is installed: mmdebstrap notices them when it is half done. What else it says is for
// the real run.
func (d *Draft) checkPackages(ctx context.Context, program string, b Bootstrap, arguments []string) error {
	if len(b.Include) == 0 {
		return nil
	}
	command := slices.Concat(alone, []string{program, "--simulate"}, arguments) // --quiet would hide what apt says
	var out bytes.Buffer
	err := runUnshared(ctx, command, &out)
	if err == nil {
		return nil
	}
	var missing []string
	for _, found := range noPackage.FindAllStringSubmatch(out.String(), -1) {
		missing = append(missing, found[1]+found[2])
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("the mirror has no package %s for %s and %s (components %s): nothing was made", strings.Join(missing, ", "), b.Suite, b.Arch,
		cmp.Or(strings.Join(b.Components, " "), "main"))
}
