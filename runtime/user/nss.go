package user

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// The configuration of NSS, and the programs that query it.
const (
	sourcesFile = "/etc/nsswitch.conf"
	getent      = "/usr/bin/getent"
	timeout     = "/usr/bin/timeout"
)

// groupSources are the databases of nsswitch.conf(5) that know the members of groups.
var groupSources = []string{"group", "initgroups"}

// askSources returns whether nsswitch.conf(5) names a source besides the files for one
// of these databases.
func askSources(databases ...string) (bool, error) {
	text, err := readFile(sourcesFile)
	return elsewhere(string(text), databases), err
}

// elsewhere returns whether the text of nsswitch.conf(5) names a source besides the
// files for one of these databases. If not, getent need not be started. The source
// "systemd" does not count: its groups have no members, and its users no files.
func elsewhere(text string, databases []string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		name, sources, _ := strings.Cut(line, ":")
		if !slices.Contains(databases, strings.TrimSpace(name)) {
			continue
		}
		for _, source := range strings.Fields(sources) {
			if source[0] != '[' && !slices.Contains([]string{"files", "compat", "systemd"}, source) {
				return true
			}
		}
	}
	return false
}

// confinement confines getent. It gets ids that no other process has: if it ran as the
// caller, the caller could change its output, and if it ran as nobody, any daemon that
// runs as nobody could. It keeps the network, since a source may need it.
func confinement(h here.Here) nsexec.Confinement {
	c := nsexec.Confinement{Limits: []string{"--as=1073741824", "--cpu=60", "--core=0"}}
	c.UID, c.IDs = h.Stranger()
	c.GID = c.UID
	return c
}

// askNSS runs getent with an empty environment, for a minute at most. It returns a line
// for each known key; without keys, all that the sources enumerate. If there is no
// getent, it returns nothing.
func askNSS(h here.Here, database string, keys ...string) (string, error) {
	if _, err := os.Stat(getent); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	cmd := exec.Command(timeout, append([]string{"--signal=KILL", "60", getent, database}, keys...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out, err := nsexec.OutputConfined(cmd, confinement(h), maxSize)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 { // a key is unknown
		return string(out), nil
	}
	if err != nil {
		return "", fmt.Errorf("getent %s %.100s: %w", database, strings.Join(keys, " "), err)
	}
	return string(out), nil
}

// one asks NSS for one key, and returns its line, or "" if the key is unknown.
func (d *Database) one(database, key string) (string, error) {
	out, err := d.ask(database, key)
	line, _, _ := strings.Cut(out, "\n")
	return line, err
}
