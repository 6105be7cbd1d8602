package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	flag "github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/dsc"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/session"
)

var sessionForBuildDeps = command{
	name:     "for-builddeps",
	granted:  true,
	passes:   true,
	synopsis: "IMAGE FILE",
	summary:  "have a session with what a Debian source package needs to be built, and print its name",
	examples: []string{"runtime session for-builddeps deb12-i386 hello_2.10-3.dsc"},
	setUp: func(flags *flag.FlagSet) action {
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 2, "IMAGE", "FILE")
			if err != nil {
				return exit(err)
			}
			name, err := buildDeps{here: self.Here, image: args[0]}.session(args[1])
			if err == nil {
				fmt.Fprintln(stdout, name)
			}
			return exit(err)
		}
	},
}

// buildDeps makes a session of an image with a source package's dependencies. A build
// begins in a throw-away snapshot of it (run --session NAME --discard).
type buildDeps struct {
	here  here.Here
	image string
}

// complete is a file in a session in which all has been installed.
const complete = "/var/lib/mayfly-builddeps"

// installDependencies runs as root inside. A debian/control comes in by standard input.
// build-essential and fakeroot are what sbuild wants besides.
const installDependencies = `mkdir -p /tmp/source/debian
cat >/tmp/source/debian/control
cd /tmp/source
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install build-essential fakeroot
apt-get -q -y --no-install-recommends build-dep ./
apt-get clean`

// session returns the name of the session. It makes it if it is not there, or if the one
// that is there was never finished.
func (b buildDeps) session(file string) (string, error) {
	source, err := readSource(file)
	if err != nil {
		return "", err
	}
	content, err := b.content()
	if err != nil {
		return "", err
	}
	family := "deps-" + strings.Map(func(c rune) rune {
		if c == '+' || c == '.' {
			return '_'
		}
		return c
	}, source.Name[:min(len(source.Name), 30)]) + "-"
	name := family + source.Key(content)
	unlock, err := lockSession(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	sessions, err := session.List(b.here, false)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(sessions, func(s session.Session) bool { return s.Name == name }) {
		err := again("runtime", "run", "--quiet", "--session", name, "--discard", "--no-host-binds", "--chdir", "/", "--", "test", "-e", complete)
		var failed *exec.ExitError
		if err == nil {
			return name, nil
		}
		if !errors.As(err, &failed) || failed.ExitCode() != 1 { // 1: the file is not there
			return "", err
		}
		if err := again("runtime", "session", "end", name); err != nil {
			return "", err
		}
	}
	if err := b.forget(sessions, family, name); err != nil {
		return "", err
	}
	return name, b.install(name, source)
}

// content names the content of the image: with its version if it has any.
func (b buildDeps) content() (content string, err error) {
	parsed, err := ref.Parse(b.image)
	if err != nil {
		return "", err
	}
	err = access.WithStore(b.here, "", func(s *image.Store) error {
		img, err := s.Image(b.image)
		if err != nil {
			return err
		}
		parsed = img.Reference
		return img.Close()
	})
	return parsed.String(), err
}

// forgetAfter is how long a session is kept that has not been used.
const forgetAfter = 24 * time.Hour

// forget ends the sessions that this one takes the place of: those of the same package
// and image that nobody has used for a day.
func (b buildDeps) forget(sessions []session.Session, family, name string) error {
	for _, s := range sessions {
		if s.Name == name || s.InUse || time.Since(s.Used) < forgetAfter || nameOfImage(s.Image) != nameOfImage(b.image) || len(s.Name) != len(name) || !strings.HasPrefix(s.Name, family) {
			continue
		}
		if err := again("runtime", "session", "end", s.Name); err != nil {
			return err
		}
	}
	return nil
}

// install begins the session and fills it. One that cannot be filled is ended.
func (b buildDeps) install(name string, source dsc.Source) error {
	if err := again("runtime", "session", "begin", "--name", name, b.image); err != nil {
		return err
	}
	flags := []string{"run", "--quiet", "--session", name, "--no-host-binds", "--chdir", "/"}
	if os.Getuid() != 0 {
		flags = append(flags, "--root")
	}
	// The mark comes when all is on the disk.
	flags = flags[:len(flags):len(flags)]
	install := itself("runtime", append(flags, "--no-sync", "--", "sh", "-ec", installDependencies)...)
	install.Stdin = strings.NewReader(source.Control())
	err := finish(install)
	if err == nil {
		err = again("runtime", append(flags, "--", "sh", "-ec", "sync; touch "+complete)...)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("what %s needs could not be installed: %w", source.Name, err), again("runtime", "session", "end", name))
	}
	return err
}

// lockSession keeps others of the caller's from making the same session.
func lockSession(name string) (unlock func(), err error) {
	dir, err := makeDetachedDirectory()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		warn("another process makes session " + name + ": waiting for it")
		for err == unix.EWOULDBLOCK || err == unix.EINTR {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// readSource reads a .dsc of the caller's.
func readSource(name string) (s dsc.Source, err error) {
	f, err := openFile(name, os.O_RDONLY, 0)
	if err != nil {
		return s, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, dsc.Most+1))
	if err == nil {
		s, err = dsc.Parse(data)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
