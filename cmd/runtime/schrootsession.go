package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime"
	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/state"
	"mayfly/runtime/user/passwd"
)

// Sessions of schroot's name: held containers. Any other container of the caller's that
// runs is one too, for all but the beginning.

// beginSession begins a session, with root inside if the caller may have it.
func (s *schroot) beginSession(h here.Here, chroot string) (int, error) {
	if strings.HasPrefix(chroot, sessionPrefix) {
		return exit(fmt.Errorf("%s is a session: -b begins one of an image", chroot))
	}
	base, err := baseOf(h, chroot)
	if err != nil {
		return exit(err)
	}
	session := strings.TrimPrefix(s.name, sessionPrefix)
	if session == "" {
		session = nameFor(base.image + base.session)
	}
	flags := append(base.flags(), "--chdir", "/")
	rooted, err := mayBeRoot(h, base)
	if err != nil {
		return exit(err)
	}
	if rooted {
		flags = append(flags, "--root")
	}
	code, err := hold(h, session, flags, base.image)
	if code != 0 || err != nil {
		return code, err
	}
	if err = errors.Join(makeLocation(session), s.furnish(h, session, rooted)); err != nil {
		err = errors.Join(err, again("schroot", "--end-session", "--chroot", session)) // which has the right to look
	}
	return exit(err)
}

// Programs look whether the directory of a session is there. The root file system is not
// to be reached from outside, so an empty directory stands for it.

func makeLocation(session string) error {
	dir, err := detachedDirectory()
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, session+locationSuffix), 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// locationOf returns that directory, "" for a container that has none.
func locationOf(session string) string {
	dir, err := detachedDirectory()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, session+locationSuffix)
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// mayBeRoot tells whether the caller may have root inside, of a user's kind. Root's own
// commands are root without. Why not is a warning.
func mayBeRoot(h here.Here, b base) (bool, error) {
	if os.Getuid() == 0 {
		return false, nil
	}
	o := b.options()
	o.command, o.dir = holdCommand, "/"
	decide := func() error {
		r, err := o.request()
		if err == nil {
			_, err = runtime.Decide(h, r)
		}
		return err
	}
	if err := decide(); err != nil {
		return false, err
	}
	o.rootInside = true
	err := decide()
	if err != nil {
		warn("there is no root inside the session: " + err.Error())
	}
	return err == nil, nil
}

// sbuildGroup is the group whose members may build with sbuild, outside and inside.
const sbuildGroup = "sbuild"

// furnish makes the group inside that sbuild builds with, if the caller is in it outside.
func (s *schroot) furnish(h here.Here, session string, rooted bool) error {
	database, me, err := callersEntry(h)
	if err != nil || !(rooted || me.UID == 0) {
		return err
	}
	groups, err := database.Groups(me)
	gid, unknown := database.GroupByName(sbuildGroup)
	if err != nil || unknown != nil || !slices.Contains(groups, gid) {
		return err
	}
	const script = `getent group "$1" >/dev/null || groupadd --system "$1" && usermod --append --groups "$1" "$2"`
	if err := again("runtime", "exec", "--no-tty", "--chdir", "/", session, "--", "sh", "-c", script, "sh", sbuildGroup, me.Name); err != nil {
		return fmt.Errorf("session %s: make group %s inside: %w", session, sbuildGroup, err)
	}
	return nil
}

// inSession runs the command in a session.
func (s *schroot) inSession(h here.Here, chroot string) (int, error) {
	name := strings.TrimPrefix(chroot, sessionPrefix)
	record, is, err := recordOf(h, name)
	if err != nil {
		return exit(err)
	}
	if !is {
		return exit(fmt.Errorf("there is no session %s: `schroot -l --all-sessions` lists them", chroot))
	}
	me, as, err := s.who(h)
	if err != nil {
		return exit(err)
	}
	command := s.command
	if len(command) == 0 {
		command = s.login()
	}
	runsAs := uint32(0)
	if record.AsOwner {
		runsAs = me.UID
	}
	switch {
	case as.UID == runsAs:
	case runsAs != 0:
		return exit(fmt.Errorf("-u %s: session %s has no root inside: the policy (root-inside) and /etc/subuid say who may have it", as.Name, name))
	default:
		command = asUser(as.UID, as.GID, command)
	}
	e := execution{container: name, args: command, dir: s.dir, env: s.environment(nameOfImage(record.Image), name, as)}
	if e.dir == "" && len(s.command) == 0 {
		e.dir = "/" // login changes it
	}
	if e.dir == "" {
		if e.dir, err = os.Getwd(); err != nil {
			return exit(err)
		}
	}
	return schrootStatus(e.run(h))
}

// login returns a command that starts a login shell, in the current directory or another
// that is there.
func (s *schroot) login() []string {
	const script = `[ -z "$1" ] || cd "$1" 2>/dev/null || cd "$HOME" 2>/dev/null || cd /
for shell in "$2" "$SHELL" /bin/bash /bin/sh; do [ ! -x "$shell" ] || exec "$shell" -l; done`
	dir := ""
	if s.dir == "" {
		dir, _ = os.Getwd()
	}
	return []string{"/bin/sh", "-c", script, "sh", dir, s.shell}
}

// hiddenVariables are not passed by -p: they say where a program finds what it executes
// or loads.
var hiddenVariables = []string{"BASH_ENV", "CDPATH", "ENV", "HOSTALIASES", "IFS", "KRB5_CONFIG", "LOCALDOMAIN", "NLSPATH", "PATH_LOCALE", "RES_OPTIONS", "TERMINFO", "TERMINFO_DIRS", "TERMPATH"}

// environment returns the variables of a session's command: with -p the caller's, then
// those that tell who it is and where.
func (s *schroot) environment(image, session string, as passwd.Entry) (env []string) {
	if s.preserve {
		for _, entry := range access.CallerEnviron() {
			name, _, is := strings.Cut(entry, "=")
			if is && name != "" && !slices.Contains(hiddenVariables, name) && !strings.HasPrefix(name, "LD_") {
				env = append(env, entry)
			}
		}
	}
	shell := as.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	env = append(env, "HOME="+as.Home, "USER="+as.Name, "LOGNAME="+as.Name, "SHELL="+shell, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", as.UID))
	return append(env, schrootVariables(image, session, as)...)
}

// schrootVariables are what schroot tells a command.
func schrootVariables(image, session string, as passwd.Entry) []string {
	env := []string{"SCHROOT_CHROOT_NAME=" + image, "SCHROOT_ALIAS_NAME=" + image, "SCHROOT_USER=" + as.Name,
		"SCHROOT_UID=" + strconv.FormatUint(uint64(as.UID), 10), "SCHROOT_GID=" + strconv.FormatUint(uint64(as.GID), 10)}
	if session != "" {
		env = append(env, "SCHROOT_SESSION_ID="+session)
	}
	return env
}

// each ends the sessions that the flags select. (--recover-session only looks whether
// they are there.)
func (s *schroot) each(h here.Here) error {
	names := s.chroots
	if s.everything || s.allSessions {
		sessions, err := sessionsOf(h)
		if err != nil {
			return err
		}
		for _, r := range sessions {
			names = append(names, r.Name)
		}
	} else if len(names) == 0 {
		return errors.New("no session given: -c NAME, or --all-sessions")
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, s.endOrLook(h, strings.TrimPrefix(name, sessionPrefix)))
	}
	return errors.Join(errs...)
}

func (s *schroot) endOrLook(h here.Here, name string) error {
	_, is, err := recordOf(h, name)
	if err == nil && s.end {
		was := is
		if is, err = release(h, name); err == nil && !is && was { // a container that is no held one
			is, err = true, kill(name)
		}
	}
	if err == nil && !is && !s.force {
		err = fmt.Errorf("there is no session %s: `schroot -l --all-sessions` lists them", name)
	}
	return err
}

// sessionsOf returns the caller's held containers that run.
func sessionsOf(h here.Here) ([]state.Record, error) {
	names, err := held()
	if err != nil {
		return nil, err
	}
	records, err := recordsOf(h, uint32(os.Getuid()))
	return slices.DeleteFunc(records, func(r state.Record) bool { return !slices.Contains(names, r.Name) }), err
}
