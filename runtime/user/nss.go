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

// What there is of the database besides its files, and the programs that know it.
const (
	sourcesFile = "/etc/nsswitch.conf"
	getent      = "/usr/bin/getent"
	timeout     = "/usr/bin/timeout"
)

// groupSources are the databases of nsswitch.conf(5) that tell of members of groups.
var groupSources = []string{"group", "initgroups"}

// askSources tells whether nsswitch.conf(5) names another source of one of these
// databases than the files.
func askSources(databases ...string) (bool, error) {
	text, err := readFile(sourcesFile)
	return elsewhere(string(text), databases), err
}

// elsewhere tells whether nsswitch.conf(5) names a source of one of these databases
// besides the files (and systemd's, which knows of groups without members, and of users
// without files), so that getent need not be started to hear that there is nothing.
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

// confinement is of getent: ids that nobody else has, since a process of the caller's
// own the caller could make say what they like, and one of nobody's any daemon that
// runs as nobody. It keeps the network: a source may be reached by that.
func confinement(h here.Here) nsexec.Confinement {
	c := nsexec.Confinement{Limits: []string{"--as=1073741824", "--cpu=60", "--core=0"}}
	c.UID, c.IDs = h.Stranger()
	c.GID = c.UID
	return c
}

// askNSS runs getent with an empty environment, for a minute at most, and returns what
// it knows of some keys, a line each; without a key all that its sources enumerate. It
// knows nothing where there is no getent.
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

// one asks NSS for one key, and returns the line, "" where it is unknown.
func (d *Database) one(database, key string) (string, error) {
	out, err := d.ask(database, key)
	line, _, _ := strings.Cut(out, "\n")
	return line, err
}
