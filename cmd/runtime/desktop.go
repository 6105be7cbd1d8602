package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"mayfly/runtime/plan"
)

// With --ssh-agent and --gui a container gets binds of the caller's sockets, and the
// variables that name them. The policy must allow these binds like any other.

// desktop adds the binds and variables of --ssh-agent and --gui to a request.
func (o *options) desktop(r *plan.Request) error {
	for _, f := range []struct {
		name  string
		asked bool
		add   func(*plan.Request) error
	}{{"--ssh-agent", o.sshAgent, addAgent}, {"--gui", o.gui, addDisplays}} {
		if !f.asked {
			continue
		}
		if r.RootInside && !r.RootIsCaller || o.user != "" {
			// An agent answers its own user only. A program on a display sees all that
			// is typed there.
			return fmt.Errorf("%s is for yourself: with --root or --user the command is another user", f.name)
		}
		if err := f.add(r); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// ownPlace returns a path in the user's runtime directory (/run/user/UID).
func ownPlace(name string) string {
	return path.Join(plan.RuntimeDir(uint32(os.Getuid())), name)
}

// share adds a bind of the path that one of the caller's variables names. entry sets
// the variable to its place inside.
func share(r *plan.Request, source, destination, entry string, readOnly bool) error {
	if !filepath.IsAbs(source) {
		return fmt.Errorf("%q is not an absolute path", source)
	}
	r.Binds = append(r.Binds, plan.Bind{Source: filepath.Clean(source), Destination: destination, ReadOnly: readOnly})
	r.Env = append(r.Env, entry)
	return nil
}

// isSocket refuses a path that is not a socket: the variable may have been exported by
// mistake.
func isSocket(variable, name string) error {
	info, err := os.Stat(name)
	if err == nil && info.Mode().Type() != os.ModeSocket {
		err = fmt.Errorf("%s is something else", name)
	}
	if err != nil {
		return fmt.Errorf("%s is to name a socket: %w", variable, err)
	}
	return nil
}

func addAgent(r *plan.Request) error {
	const variable = "SSH_AUTH_SOCK"
	socket := os.Getenv(variable)
	if socket == "" {
		return errors.New(variable + " is not set: `eval $(ssh-agent)` starts an agent")
	}
	if err := isSocket(variable, socket); err != nil {
		return err
	}
	inside := ownPlace("ssh-agent")
	return share(r, socket, inside, variable+"="+inside, false)
}

func addDisplays(r *plan.Request) error {
	wayland, x := os.Getenv("WAYLAND_DISPLAY"), os.Getenv("DISPLAY")
	if wayland == "" && x == "" {
		return errors.New("neither WAYLAND_DISPLAY nor DISPLAY is set: is this a graphical session?")
	}
	if wayland != "" {
		if err := addWayland(r, wayland); err != nil {
			return err
		}
	}
	if x != "" {
		return addX(r, x)
	}
	return nil
}

func addWayland(r *plan.Request, display string) error {
	socket := display
	if !filepath.IsAbs(display) {
		dir := os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			return fmt.Errorf("WAYLAND_DISPLAY is %s, and XDG_RUNTIME_DIR, which says where that is, is not set", display)
		}
		socket = filepath.Join(dir, display)
	}
	if err := isSocket("WAYLAND_DISPLAY", socket); err != nil {
		return err
	}
	name := filepath.Base(socket)
	return share(r, socket, ownPlace(name), "WAYLAND_DISPLAY="+name, false)
}

// addX binds the X server's socket, if the server is on this host, and the cookies. The
// cookies are for the host's name, so the container gets that name unless --hostname is
// given.
func addX(r *plan.Request, display string) error {
	host, rest, ok := strings.Cut(display, ":")
	number, _, _ := strings.Cut(rest, ".")
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" || strings.Contains(host, "/") {
		return fmt.Errorf("DISPLAY is %q: want :N or HOST:N", display)
	}
	r.Env = append(r.Env, "DISPLAY="+display)
	if host == "" || host == "unix" {
		socket := "/tmp/.X11-unix/X" + number
		if err := isSocket("DISPLAY", socket); err != nil {
			return err
		}
		r.Binds = append(r.Binds, plan.Bind{Source: socket, Destination: socket})
	}
	if r.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		r.Hostname = name
	}
	cookies := os.Getenv("XAUTHORITY")
	if cookies == "" {
		cookies = filepath.Join(os.Getenv("HOME"), ".Xauthority")
		if _, err := os.Lstat(cookies); err != nil {
			return nil // some servers need no cookies
		}
	}
	inside := ownPlace("Xauthority")
	return share(r, cookies, inside, "XAUTHORITY="+inside, true)
}
