package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
)

// options are the flags of run and shell.
type options struct {
	image   string
	command []string
	login   bool // by way of the login shell,
	noLogin bool // which is not started as one

	session, store, name, hostname, user, dir, personality, network, rootAs string

	binds, bindsReadOnly, noBinds, tmpfs, env, publish []string

	envAll, rootInside, writable, noEphemeral, tty, noTTY, dieWithParent, dryRun, quiet, verbose, sshAgent, gui bool

	timeout, killAfter time.Duration

	memory, swap, stats, outputLimit, record string

	tasks, cpuWeight, ioWeight, preserve int

	cpus float64
}

func declare(flags *flag.FlagSet) *options {
	o := &options{}
	flags.Func("bind", "make SRC of the host appear inside, writable: `SRC[:DST]`, a backslash escapes a colon", appendTo(&o.binds))
	flags.Func("bind-ro", "the same, read-only: `SRC[:DST]`", appendTo(&o.bindsReadOnly))
	flags.Func("no-bind", "leave out the policy's bind on `DIR`: the image's own is there", appendTo(&o.noBinds))
	flags.Func("tmpfs", "an empty file system in memory: `DST[:OPTIONS]`, such as size=64M,mode=0700,noexec", appendTo(&o.tmpfs))
	flags.Func("env", "pass an environment variable, or set it: `NAME[=VALUE]`", appendTo(&o.env))
	flags.BoolVar(&o.envAll, "env-all", false, "pass the whole environment")
	flags.StringVar(&o.dir, "chdir", "", "working `DIR` inside (default: the current one, which is bound where no bind brings it)")
	flags.BoolVar(&o.sshAgent, "ssh-agent", false, "let the command use your SSH agent: bind its socket and set SSH_AUTH_SOCK")
	flags.BoolVar(&o.gui, "gui", false, "let it show windows: bind the sockets of your Wayland and X displays, X's cookies, and set the variables")
	flags.IntVar(&o.preserve, "preserve-fds", 0, "pass `N` open descriptors from 3 on to the command: files, pipes and sockets (default: 0)")
	flags.StringVar(&o.user, "user", "", "run as `USER`, name or number; only root may choose another")
	flags.StringVar(&o.network, "network", "", "`NETWORK`: host, none, private, join:NAME for that of another container of yours, or interface:IF for one of the host's that is moved in (root; default: what the policy says)")
	flags.Func("publish", "with --network private: have TCP port HOST of the host lead to one of the container's: `HOST:CONTAINER`", appendTo(&o.publish))
	flags.BoolVar(&o.rootInside, "root", false, "be root inside, and nobody else outside: by subordinate ids, see subuid(5)")
	flags.StringVar(&o.rootAs, "root-as", "", "--root, and `WHO` owns on the host what root makes on binds: subordinate (as with --root), or caller")
	flags.StringVar(&o.personality, "personality", "", "`ARCH` that uname tells: x86, x86-64, arm, arm64 (default: the image's)")
	flags.StringVar(&o.name, "name", "", "`NAME` of the container (default: IMAGE-<16 hex digits>)")
	flags.StringVar(&o.session, "session", "", "run in the session `NAME` instead of an image: what is written there stays")
	flags.StringVar(&o.hostname, "hostname", "", "host `NAME` inside (default: the container's name)")
	flags.BoolVar(&o.writable, "writable", false, "the root file system can be written to, and is thrown away all the same")
	flags.BoolVar(&o.noEphemeral, "no-ephemeral", false, "change the image itself, without the host's binds; only root may")
	flags.BoolVar(&o.tty, "tty", false, "give the command a terminal of its own (default: when we have one)")
	flags.BoolVar(&o.noTTY, "no-tty", false, "pass standard input, output and error straight through")
	flags.DurationVar(&o.timeout, "timeout", 0, "end the command with SIGTERM after `DURATION` (90s, 10m, 2h), exit status 124")
	flags.DurationVar(&o.killAfter, "kill-after", 10*time.Second, "with --timeout: kill it this `DURATION` after SIGTERM")
	flags.BoolVar(&o.dieWithParent, "die-with-parent", false, "kill the container when the process that has called us ends")
	flags.StringVar(&o.memory, "memory", "", "most memory of all processes together: `SIZE` such as 512M, 4G")
	flags.StringVar(&o.swap, "swap", "", "with --memory: most swap besides, `SIZE` (default: none)")
	flags.IntVar(&o.tasks, "tasks", 0, "most processes and threads, `N`")
	flags.Float64Var(&o.cpus, "cpus", 0, "most processor time, in processors: `N` such as 1.5")
	flags.IntVar(&o.cpuWeight, "cpu-weight", 0, "share of the processors beside others, `N` from 1 to 10000, usual is 100")
	flags.IntVar(&o.ioWeight, "io-weight", 0, "the same for disks, `N`")
	flags.StringVar(&o.stats, "stats", "", "write what the container has used to `FILE` (-: standard error) as JSON, at the end")
	flags.StringVar(&o.outputLimit, "output-limit", "", "end the command when it has written `SIZE` such as 50M, exit status 124")
	flags.StringVar(&o.record, "log", "", "write a copy of what is shown to `FILE`, as an asciicast (asciinema play)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan as JSON and change nothing")
	flags.BoolVar(&o.quiet, "quiet", false, "tell nothing but errors")
	flags.BoolVar(&o.verbose, "verbose", false, "tell of the container's beginning and end (default: on a terminal)")
	flags.StringVar(&o.store, "store", "", "`DIR` of the images; only root may choose")
	return o
}

// appendTo collects a flag that can be given several times.
func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}

// split takes NAME [--] COMMAND apart; what is what NAME names, for errors, and is
// not empty. (An empty command is not found, as a shell has it.)
func split(flags *flag.FlagSet, what string, args []string) (name string, command []string, err error) {
	if len(args) == 0 {
		return "", nil, nil
	}
	name, command = args[0], args[1:]
	if name == "" {
		return "", nil, isEmpty(flags, what)
	}
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	return name, command, nil
}

// split takes the arguments apart. With a session there is no image among them.
func (o *options) split(flags *flag.FlagSet, args []string) (err error) {
	if o.session == "" {
		o.image, o.command, err = split(flags, "image", args)
		return err
	}
	o.command = args
	return nil
}

func (o *options) request() (plan.Request, error) {
	r := plan.Request{
		Store: o.store, Image: o.image, Session: o.session, Command: o.command, Login: o.login, NoLogin: o.noLogin, Name: o.name, Hostname: o.hostname,
		Env: o.env, EnvAll: o.envAll, NoBinds: o.noBinds, Dir: o.dir, RootInside: o.rootInside, Network: o.network, User: o.user, Personality: o.personality,
		Writable: o.writable, NoEphemeral: o.noEphemeral, Timeout: o.timeout, KillAfter: o.killAfter,
		Limits: callersLimits(), Measure: o.stats != "",
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

// sizes reads the bounds that are amounts of bytes.
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

// ports reads the ports that are to be published.
func (o *options) ports(r *plan.Request) error {
	for _, text := range o.publish {
		host, container, _ := strings.Cut(text, ":")
		a, errA := strconv.ParseUint(host, 10, 16)
		b, errB := strconv.ParseUint(container, 10, 16)
		if errA != nil || errB != nil || a == 0 || b == 0 {
			return fmt.Errorf("--publish %q: want two TCP ports such as 8080:80", text)
		}
		r.Publish = append(r.Publish, plan.Port{Host: uint16(a), Container: uint16(b)})
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
