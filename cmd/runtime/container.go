package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	flag "github.com/spf13/pflag"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/runtime/client"
	"mayfly/runtime/here"
	"mayfly/runtime/status"
)

var execCommand = command{
	name:     "exec",
	traits:   lean,
	granted:  true,
	rootless: asCaller,
	synopsis: "[flags] NAME [--] COMMAND [ARG...]",
	summary:  "run another command in a running container, with the same confinement",
	examples: []string{
		"runtime exec build-1 ps aux",
		"runtime exec --env DEBUG=1 --chdir /src build-1 -- ./trace.sh",
	},
	setUp: func(flags *flag.FlagSet) action {
		var env []string
		flags.FuncP("env", "e", "pass an environment variable, or set it: `NAME[=VALUE]`", appendTo(&env))
		dir := flags.StringP("chdir", "w", "", "working `DIR` inside (default: that of the container's command)")
		tty := flags.BoolP("tty", "t", false, "give the command a terminal of its own (default: if the caller has one)")
		noTTY := flags.Bool("no-tty", false, "pass standard input, output and error through unchanged")
		anotherName(flags, "workdir", "chdir")
		acceptAlways(flags, "interactive", "i")
		return func(self process, args []string) (int, error) {
			name, args, err := split(flags, "container", args)
			if err != nil {
				return exit(err)
			}
			switch {
			case name == "":
				return exit(errors.New("no container given: `runtime ps` lists them"))
			case len(args) == 0:
				return exit(errors.New("no command given"))
			case *tty && *noTTY:
				return exit(errors.New("--tty and --no-tty exclude each other"))
			}
			how, err := execution{name, args, env, *dir, *tty, *noTTY}.run(self.Here)
			if err != nil {
				return status.ExitCodeOf(err), err
			}
			return how.ExitCode(), nil
		}
	},
}

var killCommand = command{
	name:     "kill",
	traits:   lean,
	granted:  true,
	rootless: asCaller,
	synopsis: "[--signal S] NAME... | --all",
	summary:  "send a signal to the commands of running containers",
	examples: []string{"runtime kill build-1", "runtime kill --signal KILL --all"},
	setUp: func(flags *flag.FlagSet) action {
		name := flags.String("signal", "TERM", "`SIGNAL`, by name or number")
		all := flags.Bool("all", false, "signal all your containers")
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 0, anyNumber("container", args)...)
			if err != nil {
				return exit(err)
			}
			signal, err := parseSignal(*name)
			if err != nil {
				return exit(err)
			}
			return exit(killAll(self.Here, args, *all, signal))
		}
	},
}

func killAll(h here.Here, names []string, all bool, signal syscall.Signal) error {
	switch {
	case all && len(names) > 0:
		return errors.New("--all and names exclude each other")
	case !all && len(names) == 0:
		return errors.New("no container given: `runtime ps` lists them")
	}
	if all {
		list, err := client.Containers(h, false)
		if err != nil {
			return err
		}
		for _, c := range list {
			names = append(names, c.User+"/"+c.Name)
		}
	}
	if signal == syscall.SIGKILL {
		err := client.Kill(h, names, warn)
		if err == nil && len(names) > 1 {
			fmt.Fprintf(stdout, "killed %s\n", printableLine(strings.Join(names, ", ")))
		}
		return err
	}
	lines, err := client.CallAll(h, names)
	for _, line := range lines {
		sent := line.Signal(signal)
		if sent == nil && len(names) > 1 {
			fmt.Fprintf(stdout, "sent SIG%s to %s\n", status.SignalName(signal), printableLine(line.Name))
		}
		err = errors.Join(err, sent, line.Close())
	}
	return err
}

func parseSignal(text string) (syscall.Signal, error) {
	upper := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s := unix.SignalNum("SIG" + upper); s != 0 {
		return s, nil
	}
	var number int
	if _, err := fmt.Sscanf(text, "%d", &number); err == nil && number > 0 && number <= 64 && fmt.Sprint(number) == text {
		return syscall.Signal(number), nil
	}
	return 0, fmt.Errorf("signal %q: want a name such as TERM or a number from 1 to 64", text)
}

var inspectCommand = command{
	name:     "inspect",
	traits:   lean,
	granted:  true,
	rootless: asCaller,
	synopsis: "NAME",
	summary:  "print a running container's plan and state as JSON",
	examples: []string{"runtime inspect build-1 | jq .plan.spec.process.env"},
	setUp: func(flags *flag.FlagSet) action {
		return calling(flags, func(line *client.Conn) (int, error) {
			view, err := line.Inspect()
			if err != nil {
				return exit(err)
			}
			return exit(printJSON(view))
		})
	},
}

// calling returns an action that connects to the container that the argument names.
func calling(flags *flag.FlagSet, f func(*client.Conn) (int, error)) action {
	return func(self process, args []string) (int, error) {
		args, err := positional(flags, args, 1, "container")
		if err != nil {
			return exit(err)
		}
		line, err := client.Call(self.Here, args[0], nil)
		if err != nil {
			return exit(err)
		}
		defer line.Close()
		return f(line)
	}
}

var psCommand = command{
	name:     "ps",
	aliases:  []string{"ls"},
	traits:   lean,
	granted:  true,
	rootless: asCaller,
	synopsis: "[flags]",
	bare:     true,
	summary:  "list running containers",
	examples: []string{"runtime ps", "runtime ps --watch", "runtime ps --all-users --json"},
	setUp: func(flags *flag.FlagSet) action {
		everybody := flags.Bool("all-users", false, "list the containers of all users (root only)")
		form := listingFlags(flags)
		watch := flags.Bool("watch", false, "refresh every second, until q is typed; CPU is then a percentage of one processor")
		return func(self process, _ []string) (int, error) {
			list, err := client.Containers(self.Here, *everybody)
			if err != nil {
				return exit(err)
			}
			return exit(form.print(list, namesOf(list, func(c client.Container) string { return c.Name }), func() error {
				if *watch {
					return watchContainers(self.Here, *everybody, list)
				}
				return printContainers(list, nil)
			}))
		}
	},
}

// printContainers prints the list. share, if not nil, returns the CPU column: the
// percentage of a processor.
func printContainers(list []client.Container, share func(client.Container) string) error {
	return table("NAME\tIMAGE\tUSER\tCOMMAND\tSTARTED\tCPU\tMEMORY\tTASKS", func(row func(...any)) {
		for _, c := range list {
			cpu := c.CPU.Round(10 * time.Millisecond).String()
			if share != nil {
				cpu = share(c)
			}
			row(c.Name, c.Image, c.User, shorten(strings.Join(c.Command, " ")), when(c.Started), cpu, bytesOf(int64(c.Memory)), c.Tasks)
		}
	})
}

// shorten cuts a command line to the width of its column.
func shorten(text string) string {
	const most = 40
	end, count := 0, 0 // where the kept characters would end; number of all characters
	for i := range text {
		if count == most-3 {
			end = i
		}
		count++
	}
	if count <= most {
		return text
	}
	return text[:end] + "..."
}

// refresh is the interval of --watch.
const refresh = time.Second

// watchContainers prints the list again and again, until the user types q, or a signal
// ends it.
func watchContainers(h here.Here, everybody bool, list []client.Container) error {
	before, at := map[string]time.Duration{}, time.Now()
	keys := openKeyboard()
	defer keys.close()
	for {
		elapsed := time.Since(at)
		if term.IsTerminal(1) {
			fmt.Fprint(stdout, "\033[H\033[2J")
		}
		err := printContainers(list, func(c client.Container) string {
			was, ok := before[c.User+"/"+c.Name]
			if !ok {
				return ""
			}
			return fmt.Sprintf("%.0f%%", 100*float64(c.CPU-was)/float64(elapsed))
		})
		if err != nil || stdout.err != nil {
			return err
		}
		at = time.Now()
		for _, c := range list {
			before[c.User+"/"+c.Name] = c.CPU
		}
		if keys.quits(refresh) {
			return nil
		}
		if list, err = client.Containers(h, everybody); err != nil {
			return err
		}
	}
}
