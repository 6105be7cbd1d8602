package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/session"
	"mayfly/runtime/status"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// schrootCommand takes the place of the program of that name, for those who call it:
// sbuild, git-buildpackage, dgit, scripts. Chroots are images, sessions are held
// containers. docs/tools.md has what differs.
var schrootCommand = command{
	name:     "schroot",
	granted:  true,
	passes:   true,
	rootless: asCaller,
	failure:  schrootFailure,
	synopsis: "[flags] [-- COMMAND [ARG...]]",
	summary:  "run a command, or a login shell, in an image or a session, as schroot does",
	examples: []string{"schroot -c deb12-i386 -- ./build.sh", "schroot -c deb12-i386-sbuild -b -n work", "schroot -r -c work -u root -- apt-get update", "schroot -e -c work"},
	setUp: func(flags *flag.FlagSet) action {
		s := &schroot{}
		s.declare(flags)
		return func(self process, args []string) (int, error) {
			s.command = args
			err := findHome(self.Here)
			code := 0
			if err == nil {
				code, err = s.do(self.Here)
			}
			if err != nil {
				code = schrootFailure
			}
			return code, err
		}
	},
}

// findHome sets HOME where the caller has none: sbuild calls schroot so. The files of
// detached runs are there.
func findHome(h here.Here) error {
	if os.Getenv("HOME") != "" {
		return nil
	}
	_, me, err := callersEntry(h)
	if err != nil {
		return err
	}
	return os.Setenv("HOME", me.Home)
}

// callersEntry returns the user database, and the caller's entry in it.
func callersEntry(h here.Here) (*user.Database, passwd.Entry, error) {
	database, err := user.Load(h)
	if err != nil {
		return nil, passwd.Entry{}, err
	}
	me, _, err := database.ByID(uint32(os.Getuid()))
	return database, me, err
}

// schrootFailure is schroot's exit status where it is not the command's.
const schrootFailure = 1

// schroot is a command line of schroot's.
type schroot struct {
	chroots, settings, command []string
	dir, user, shell, name     string

	list, info, location, config, version, begin, run, end, recover, automatic bool // actions

	everything, allChroots, allSessions, allSources, preserve, force, verbose bool
}

func (s *schroot) declare(flags *flag.FlagSet) {
	flags.StringArrayVarP(&s.chroots, "chroot", "c", nil, "image or session `NAME`; as NAME-sbuild an image is without the host's binds")
	flags.BoolVarP(&s.list, "list", "l", false, "list images, and sessions where they are asked for")
	flags.BoolVarP(&s.info, "info", "i", false, "tell about images and sessions")
	flags.BoolVar(&s.location, "location", false, "print the directory of a session's root file system")
	flags.BoolVar(&s.config, "config", false, "tell as schroot.conf(5) would who may use images")
	flags.BoolVarP(&s.version, "version", "V", false, "print the version")
	flags.BoolVarP(&s.everything, "all", "a", false, "images and sessions")
	flags.BoolVar(&s.allChroots, "all-chroots", false, "all images")
	flags.BoolVar(&s.allSessions, "all-sessions", false, "all sessions of yours")
	flags.BoolVar(&s.allSources, "all-source-chroots", false, "none: there are no source chroots here")
	flags.StringVarP(&s.dir, "directory", "d", "", "working `DIR` inside (default: the current directory)")
	flags.StringVarP(&s.user, "user", "u", "", "run as `USER`: yourself or root inside; root chooses any")
	flags.StringVarP(&s.shell, "shell", "s", "", "login `SHELL` (default: the user's)")
	flags.BoolVarP(&s.preserve, "preserve-environment", "p", false, "pass the caller's whole environment")
	flags.StringArrayVarP(&s.settings, "option", "o", nil, "not here: no `KEY=VALUE` can be set")
	flags.BoolVarP(&s.begin, "begin-session", "b", false, "begin a session, and print its name")
	flags.BoolVarP(&s.run, "run-session", "r", false, "run the command in a session")
	flags.BoolVarP(&s.end, "end-session", "e", false, "end a session, with its processes and files")
	flags.BoolVar(&s.recover, "recover-session", false, "fails unless the session runs: none outlives a reboot")
	flags.BoolVar(&s.automatic, "automatic-session", false, "run the command in a throw-away container (the default)")
	flags.StringVarP(&s.name, "session-name", "n", "", "`NAME` of the session (default: IMAGE-<16 hex digits>)")
	flags.BoolVarP(&s.force, "force", "f", false, "with -e: it is no failure if there is no such session")
	flags.BoolP("quiet", "q", false, "accepted: it is always so")
	flags.BoolVarP(&s.verbose, "verbose", "v", false, "print when the container starts and ends")
	flags.Bool("exclude-aliases", false, "accepted: it is always so")
}

// do does the one action that the flags ask for.
func (s *schroot) do(h here.Here) (int, error) {
	actions := 0
	for _, asked := range []bool{s.list, s.info, s.location, s.config, s.version, s.begin, s.run, s.end, s.recover, s.automatic} {
		if asked {
			actions++
		}
	}
	switch {
	case actions > 1:
		return exit(errors.New("only one action may be given, such as -l, -b, -r or -e"))
	case len(s.settings) > 0:
		return exit(fmt.Errorf("-o %s: nothing can be set here; `runtime run --help` has flags for much", s.settings[0]))
	case s.version:
		fmt.Fprintf(stdout, "schroot (Mayfly) %s\n", version)
		return 0, nil
	case s.runsNothing() && (len(s.command) > 0 || s.dir != "" || s.user != "" || s.shell != "" || s.preserve):
		return exit(errors.New("a command, -d, -u, -s and -p go with -r, or with no action"))
	case s.name != "" && !s.begin:
		return exit(errors.New("-n names a session that begins: it goes with -b"))
	case s.list, s.info, s.location, s.config:
		return exit(s.tell(h))
	case s.end, s.recover:
		return exit(s.each(h))
	}
	chroot, err := s.one()
	switch {
	case err != nil:
		return exit(err)
	case s.begin:
		return s.beginSession(h, chroot)
	case s.run || strings.HasPrefix(chroot, sessionPrefix):
		return s.inSession(h, chroot)
	}
	return s.throwAway(h, chroot)
}

// runsNothing tells whether the action is one that runs no command.
func (s *schroot) runsNothing() bool {
	return s.list || s.info || s.location || s.config || s.begin || s.end || s.recover
}

// The namespaces of names.
const (
	chrootPrefix  = "chroot:"
	sessionPrefix = "session:"
	sourcePrefix  = "source:"
)

// one returns the only chroot that was named. Without one it is "default".
func (s *schroot) one() (string, error) {
	switch {
	case s.everything, s.allChroots, s.allSessions, s.allSources, len(s.chroots) > 1:
		return "", errors.New("a command runs in one image or session: give -c once")
	case len(s.chroots) == 0:
		return "default", nil
	}
	return s.chroots[0], nil
}

// withoutBinds ends the names of images as Debian's build tools want them: without the
// host's binds. (sbuild-createchroot gives chroots such names.)
const withoutBinds = "-sbuild"

// A base is what a chroot's name means: an image, or a session of the caller's, of which
// each container has a snapshot.
type base struct {
	image, session string
	bare           bool // without the host's binds: then all files are thrown away
}

// options are those of a run that is based on it.
func (b base) options() options {
	return options{image: b.image, session: b.session, writable: b.session == "", discard: b.session != "", noHostBinds: b.bare, noSync: b.bare, quiet: true}
}

// flags are the same as words.
func (b base) flags() []string {
	flags := []string{"--writable"}
	if b.session != "" {
		flags = []string{"--session", b.session, "--discard"}
	}
	if b.bare {
		flags = append(flags, "--no-host-binds", "--no-sync")
	}
	return flags
}

// baseOf finds what a chroot's name means.
func baseOf(h here.Here, chroot string) (b base, err error) {
	if strings.HasPrefix(chroot, sourcePrefix) {
		return b, fmt.Errorf("%s: there are no source chroots: `runtime image apt` and `runtime image shell` change images", chroot)
	}
	name := strings.TrimPrefix(chroot, chrootPrefix)
	plain, bare := strings.CutSuffix(name, withoutBinds)
	b = base{image: name, bare: bare}
	sessions, err := session.List(h, false)
	if err != nil || !bare && len(sessions) == 0 {
		return b, err
	}
	images, err := imageNames(h)
	if err != nil || slices.Contains(images, name) { // an image comes before a session
		return b, err
	}
	b.image = plain
	if slices.Contains(images, plain) {
		return b, nil
	}
	for _, s := range sessions {
		if s.Name == name || s.Name == plain {
			return base{session: s.Name, bare: bare}, nil
		}
	}
	return b, nil
}

func imageNames(h here.Here) (names []string, err error) {
	err = access.WithStore(h, "", func(s *image.Store) error {
		list, err := s.List()
		names = slices.Collect(namesOf(list, func(d image.Description) string { return d.Name }))
		return err
	})
	return names, err
}

// throwAway runs the command in a container of its own.
func (s *schroot) throwAway(h here.Here, chroot string) (int, error) {
	base, err := baseOf(h, chroot)
	if err != nil {
		return exit(err)
	}
	me, as, err := s.who(h)
	if err != nil {
		return exit(err)
	}
	o := base.options()
	o.dir, o.command, o.envAll, o.rootInside = s.dir, s.command, s.preserve, as.UID == 0 && me.UID != 0
	o.verbose, o.quiet = s.verbose, !s.verbose
	if me.UID == 0 && as.UID != 0 {
		o.user = as.Name
	}
	switch {
	case len(s.command) > 0:
	case s.shell != "":
		o.command = []string{s.shell, "-l"}
	default:
		o.login = true
	}
	o.env = schrootVariables(strings.TrimPrefix(chroot, chrootPrefix), "", as)
	how, err := o.attempt(h, &reports{options: &o})
	return schrootStatus(how, err)
}

// schrootStatus is the command's exit status, 1 where it has none.
func schrootStatus(how status.Status, err error) (int, error) {
	if err == nil && how.Signal != 0 {
		return exit(fmt.Errorf("the command was %s", how))
	}
	return how.ExitCode(), err
}

// who finds the caller, and the user that the command is to run as.
func (s *schroot) who(h here.Here) (me, as passwd.Entry, err error) {
	database, me, err := callersEntry(h)
	if err != nil || s.user == "" || s.user == me.Name {
		return me, me, err
	}
	if s.user != "root" && me.UID != 0 {
		return me, as, fmt.Errorf("-u %s: you may be yourself, or root inside; only root chooses another user", s.user)
	}
	as, known, err := database.ByName(s.user)
	if err == nil && !known {
		err = fmt.Errorf("-u %s: there is no such user", s.user)
	}
	return me, as, err
}
