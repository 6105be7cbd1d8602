package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/network/address"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
)

// options are the flags of run and shell.
type options struct {
	image   string
	command []string
	login   bool // run the caller's login shell
	noLogin bool // start that shell without its login files

	session, store, name, hostname, user, dir, personality, network, rootAs string

	binds, bindsReadOnly, noBinds, tmpfs, env, envFiles, publish, addHosts []string

	envAll, noHostBinds, rootInside, writable, discard, noSync, noEphemeral, tty, noTTY, dieWithParent, dryRun, quiet, verbose, sshAgent, gui bool

	timeout, killAfter time.Duration

	memory, swap, stats, status, outputLimit, record string

	// project is the directory of the project's file that was used, "" for none, and
	// imageAt the FILE:LINE of its image. The command starts in the directory with
	// inProject. projectEnv and projectEnvFiles are the file's variables. searched tells
	// where no file was found.
	project, imageAt            string
	inProject                   bool
	projectEnv, projectEnvFiles []string
	searched                    error

	inputs, allowInputs string
	around              surroundings

	provenance, sign                  string
	outputs, provenanceEnv, publicEnv []string // publicEnv: NAME=VALUE of the project's file

	leaves    bool
	held      bool     // see held.go
	report    *os.File // of one, locked; nil: descriptor 3
	variables string   // prefix of variables that are set without it
	detached  string   // file for the report of a detached run, whose process this is

	wait  time.Duration // for a slot of limits.containers; 0: not at all
	waits bool          // it has been said

	tasks, cpuWeight, ioWeight, preserve int

	cpus float64
}

func declare(flags *flag.FlagSet) *options {
	o := &options{}
	flags.Func("bind", "bind host path `SRC[:DST]`, writable; a backslash escapes a colon", appendTo(&o.binds))
	flags.Func("bind-ro", "bind host path `SRC[:DST]` read-only", appendTo(&o.bindsReadOnly))
	flags.Func("no-bind", "leave out the policy's bind on `DIR`; the image's own directory shows", appendTo(&o.noBinds))
	flags.BoolVar(&o.noHostBinds, "no-host-binds", false, "bind nothing of the host's: neither the policy's binds nor the current directory and the home")
	flags.Func("tmpfs", "mount an empty tmpfs at `DST[:OPTIONS]`, e.g. size=64M,mode=0700,noexec", appendTo(&o.tmpfs))
	flags.FuncP("volume", "v", "bind `SRC:DST[:ro]`, as podman and docker write it", o.volume)
	flags.FuncP("env", "e", "pass an environment variable, or set it: `NAME[=VALUE]`", appendTo(&o.env))
	flags.Func("env-file", "pass or set the variables in `FILE`, a line each; --env wins", appendTo(&o.envFiles))
	flags.BoolVar(&o.envAll, "env-all", false, "pass the caller's whole environment")
	flags.StringVarP(&o.dir, "chdir", "w", "", "working `DIR` inside (default: the current directory, bound if no other bind has it)")
	flags.BoolVar(&o.sshAgent, "ssh-agent", false, "let the command use your SSH agent: bind its socket, set SSH_AUTH_SOCK")
	flags.BoolVar(&o.gui, "gui", false, "let the command show windows: bind the sockets of your Wayland and X displays and X's cookies, set their variables")
	flags.IntVar(&o.preserve, "preserve-fds", 0, "pass `N` open descriptors from 3 on to the command: files, pipes and sockets (default: 0)")
	flags.StringVarP(&o.user, "user", "u", "", "run as `USER`, by name or number (only root may choose another user)")
	flags.StringVar(&o.network, "network", "", "`NETWORK`: host, none or private; join:NAME shares the network of your container NAME; interface:IF (root only) moves host interface IF into the container (default: the policy's)")
	flags.FuncP("publish", "p", "forward TCP port HOST to port CONTAINER: `HOST:CONTAINER` (with --network private)", appendTo(&o.publish))
	flags.BoolVar(&o.rootInside, "root", false, "be root inside, as apt-get and sudo want it, mapped to your subordinate ids outside; see subuid(5)")
	flags.StringVar(&o.rootAs, "root-as", "", "be root inside; files that root makes on binds belong to `WHO`: subordinate (as with --root) or caller")
	flags.StringVar(&o.personality, "personality", "", "architecture that uname reports, `ARCH`: x86, x86-64, arm, arm64 (default: the image's)")
	flags.StringVar(&o.name, "name", "", "`NAME` of the container (default: IMAGE-<16 hex digits>)")
	flags.StringVar(&o.session, "session", "", "run in session `NAME` instead of an image; changes are kept")
	flags.Func("add-host", "add a line to /etc/hosts: `NAME:ADDRESS`", o.addHost)
	flags.BoolVar(&o.discard, "discard", false, "with --session: run in a throw-away snapshot of the session, and keep no changes")
	flags.BoolVar(&o.noSync, "no-sync", false, "let fsync and the like succeed and do nothing: faster, where files are thrown away")
	flags.StringVar(&o.hostname, "hostname", "", "host `NAME` inside (default: the container's name; of a shell the image's)")
	flags.BoolVar(&o.writable, "writable", false, "the root file system is writable; changes are discarded")
	flags.BoolVar(&o.noEphemeral, "no-ephemeral", false, "change the image itself, without the host's binds (root only)")
	flags.BoolVarP(&o.tty, "tty", "t", false, "give the command a terminal of its own (default: if the caller has one)")
	flags.BoolVar(&o.noTTY, "no-tty", false, "pass standard input, output and error through unchanged")
	flags.DurationVar(&o.timeout, "timeout", 0, "send the command SIGTERM after `DURATION` (90s, 10m, 2h); exit status 124")
	flags.DurationVar(&o.killAfter, "kill-after", 10*time.Second, "with --timeout: send SIGKILL this `DURATION` after SIGTERM")
	flags.BoolVar(&o.dieWithParent, "die-with-parent", false, "kill the container when the calling process ends")
	flags.StringVarP(&o.memory, "memory", "m", "", "limit the memory of all processes together to `SIZE`, e.g. 512M, 4G")
	flags.StringVar(&o.swap, "swap", "", "with --memory: limit swap to `SIZE` (default: no swap)")
	flags.IntVar(&o.tasks, "tasks", 0, "limit processes and threads to `N`")
	flags.Float64Var(&o.cpus, "cpus", 0, "limit CPU time to `N` processors, e.g. 1.5")
	flags.IntVar(&o.cpuWeight, "cpu-weight", 0, "CPU weight `N`, 1-10000 (default 100)")
	flags.IntVar(&o.ioWeight, "io-weight", 0, "disk I/O weight `N`, 1-10000 (default 100)")
	flags.StringVar(&o.stats, "stats", "", "--status, with what was used: time, memory, tasks, bytes, to `FILE`")
	flags.StringVar(&o.status, "status", "", "write how it ended as JSON to `FILE`, whatever happens: the reason, exit status, image, version, digest (-: standard error)")
	flags.DurationVar(&o.wait, "wait", 0, "wait while you run as many containers as the policy lets, at most `DURATION` (--wait=30s; --wait alone: 10m)")
	flags.Lookup("wait").NoOptDefVal = "10m"
	flags.StringVar(&o.outputLimit, "output-limit", "", "end the command after `SIZE` of output, e.g. 50M; exit status 124")
	flags.StringVar(&o.record, "log", "", "record the output to `FILE` as an asciicast (asciinema play)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan as JSON and run nothing")
	flags.BoolVar(&o.quiet, "quiet", false, "print errors only")
	flags.BoolVar(&o.verbose, "verbose", false, "print when the container starts and ends")
	flags.StringVar(&o.provenance, "provenance", "", "write to `FILE` of what the files of --output were made: an in-toto statement with SLSA provenance (-: standard error)")
	flags.Func("provenance-env", "with --provenance: tell the value of variable `NAME`, too", appendTo(&o.provenanceEnv))
	flags.StringVar(&o.sign, "sign", "", "with --provenance: sign FILE with `KEY` of ssh or minisign")
	flags.Func("output", "with --provenance: what the build makes, files that match `GLOB`", appendTo(&o.outputs))
	flags.StringVar(&o.inputs, "inputs", "", "write as JSON to `FILE` which files were opened, of the image and below binds, and of which packages (-: standard error)")
	flags.StringVar(&o.allowInputs, "allow-inputs", "", "fail unless all files that are opened outside of the image and the project are in `LIST`, a file")
	flags.StringVar(&o.store, "store", "", "image store `DIR` (root only)")
	flags.BoolVarP(&o.leaves, "detach", "d", false, "return when the command has been executed, and print the container's name; see logs, attach, kill")
	flags.StringVar(&o.detached, "detached", "", "write the report of a detached run to `FILE`")
	flags.BoolVar(&o.held, "held", false, "with --detach: the container is held; descriptor 3 is its report")
	flags.StringVar(&o.variables, "variables", "", "set the variables whose names begin with `PREFIX`, without it")
	for _, name := range []string{"detached", "held", "variables"} { // the program's own
		flags.Lookup(name).Hidden = true
	}
	anotherName(flags, "workdir", "chdir")
	acceptAlways(flags, "rm", "")
	acceptAlways(flags, "interactive", "i")
	return o
}

// appendTo collects a flag that can be given several times.
func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}

// split splits NAME [--] COMMAND. what says in errors what NAME names. An empty NAME is
// an error. An empty command is not: the launch does not find it, like a shell.
func split(flags *flag.FlagSet, what string, args []string) (name string, command []string, err error) {
	if len(args) == 0 {
		return "", nil, nil
	}
	name, command = args[0], args[1:]
	switch {
	case name == "":
		return "", nil, isEmpty(flags, what)
	case len(command) == 0:
	case command[0] == "--":
		command = command[1:]
	case isFlag(flags, command[0]):
		return "", nil, fmt.Errorf("%s follows the %s %s: flags come before it", command[0], what, name)
	}
	return name, command, nil
}

// isFlag tells whether a word that stands where a command is expected is one of the
// flags. After "--" such a word is a command.
func isFlag(flags *flag.FlagSet, word string) bool {
	name, _, _ := strings.Cut(word, "=")
	if long, is := strings.CutPrefix(name, "--"); is {
		return long == "help" || flags.Lookup(long) != nil
	}
	return len(name) > 1 && name[0] == '-' && (name == "-h" || flags.ShorthandLookup(name[1:2]) != nil)
}

// split splits the arguments. With --session, none of them is an image.
func (o *options) split(flags *flag.FlagSet, args []string) (err error) {
	o.command = args
	if o.session == "" {
		o.image, o.command, err = split(flags, "image", args)
	}
	if err == nil {
		err = o.checkWait(args)
	}
	return err
}

// checkWait refuses a time that looks like the value of --wait, and is not.
func (o *options) checkWait(args []string) error {
	if len(args) > 0 && o.wait != 0 {
		if _, not := time.ParseDuration(args[0]); not == nil {
			return fmt.Errorf("--wait takes its time behind a sign: --wait=%s", args[0])
		}
	}
	return nil
}

// optionsOf reads the words that follow `runtime run`.
func optionsOf(args []string) (*options, error) {
	flags := newFlags("runtime run")
	o := declare(flags)
	err := parse(flags, args)
	if err == nil {
		err = o.split(flags, flags.Args())
	}
	return o, err
}

// without returns the flags among some arguments without those of certain names.
func without(flags *flag.FlagSet, args []string, names ...string) (left []string) {
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		name, _, joined := strings.Cut(args[i], "=")
		name, long := strings.CutPrefix(name, "--")
		switch {
		case !long || !slices.Contains(names, name):
			left = append(left, args[i])
		case !joined && flags.Lookup(name).NoOptDefVal == "":
			i++ // its value
		}
	}
	return left
}

func (o *options) request() (plan.Request, error) {
	r := plan.Request{
		Store: o.store, Image: o.image, Session: o.session, Discard: o.discard, NoSync: o.noSync, Command: o.command, Login: o.login, NoLogin: o.noLogin, Name: o.name, Hostname: o.hostname,
		Project: o.project, InProject: o.inProject, Env: o.env, EnvAll: o.envAll, AddHosts: o.addHosts, NoBinds: o.noBinds, NoHostBinds: o.noHostBinds, Dir: o.dir, RootInside: o.rootInside, Network: o.network, User: o.user, Personality: o.personality,
		Writable: o.writable, NoEphemeral: o.noEphemeral, Timeout: o.timeout, KillAfter: o.killAfter,
		Limits: callersLimits(), TimerSlack: hurried.slack, Measure: o.stats != "", Watch: o.watches(),
		Resources: plan.Resources{Tasks: o.tasks, CPUs: o.cpus, CPUWeight: o.cpuWeight, IOWeight: o.ioWeight},
	}
	if err := o.sizes(&r); err != nil {
		return r, err
	}
	if err := o.ports(&r); err != nil {
		return r, err
	}
	if err := o.whoIsRoot(&r); err != nil {
		return r, err
	}
	switch {
	case o.image == "" && o.session == "":
		return r, errors.New("no image given: `runtime image list` shows what there is")
	case o.tty && o.noTTY:
		return r, errors.New("--tty and --no-tty exclude each other")
	case o.quiet && o.verbose:
		return r, errors.New("--quiet and --verbose exclude each other")
	case o.tty:
		r.Terminal = plan.Yes
	case o.noTTY:
		r.Terminal = plan.No
	}
	if err := o.mounts(&r); err != nil {
		return r, err
	}
	return r, o.desktop(&r)
}

// sizes reads the limits that are sizes in bytes.
func (o *options) sizes(r *plan.Request) error {
	if o.outputLimit != "" {
		bytes, err := rule.ParseBytes(o.outputLimit)
		if err != nil || bytes == 0 {
			return fmt.Errorf("--output-limit %q: want a size such as 50M", o.outputLimit)
		}
		r.OutputLimit = bytes
	}
	if o.memory != "" {
		bytes, err := rule.ParseBytes(o.memory)
		if err != nil || bytes == 0 {
			return fmt.Errorf("--memory %q: want a size such as 512M", o.memory)
		}
		r.Resources.Memory = bytes
	}
	if o.swap != "" {
		bytes, err := rule.ParseBytes(o.swap)
		if err != nil {
			return fmt.Errorf("--swap %q: want a size such as 512M, or 0", o.swap)
		}
		r.Resources.Swap = &bytes
	}
	return nil
}

// ports reads --publish.
func (o *options) ports(r *plan.Request) error {
	for _, text := range o.publish {
		host, container, _ := strings.Cut(text, ":")
		a, errA := strconv.ParseUint(host, 10, 16)
		b, errB := strconv.ParseUint(container, 10, 16)
		if errA != nil || errB != nil || a == 0 || b == 0 {
			return fmt.Errorf("--publish %q: want two TCP ports such as 8080:80", text)
		}
		r.Publish = append(r.Publish, address.Port{Host: uint16(a), Container: uint16(b)})
	}
	return nil
}

func (o *options) mounts(r *plan.Request) error {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	for _, list := range []struct {
		texts    []string
		readOnly bool
	}{{o.binds, false}, {o.bindsReadOnly, true}} {
		for _, text := range list.texts {
			bind, err := plan.ParseBind(text, dir, list.readOnly)
			if err != nil {
				return err
			}
			r.Binds = append(r.Binds, bind)
		}
	}
	for _, text := range o.tmpfs {
		tmpfs, err := plan.ParseTmpfs(text)
		if err != nil {
			return err
		}
		r.Tmpfs = append(r.Tmpfs, tmpfs)
	}
	return nil
}

// whoIsRoot reads --root-as.
func (o *options) whoIsRoot(r *plan.Request) error {
	switch o.rootAs {
	case "":
		return nil
	case "caller":
		r.RootIsCaller = true
	case "subordinate":
	default:
		return fmt.Errorf("--root-as %q: want caller or subordinate", o.rootAs)
	}
	r.RootInside = true
	return nil
}
