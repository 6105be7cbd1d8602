package main

import (
	"errors"
	"fmt"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/client"
	"mayfly/runtime/here"
	"mayfly/runtime/status"
)

var waitCommand = command{
	name:     "wait",
	traits:   lean,
	granted:  true,
	rootless: asCaller,
	synopsis: "NAME...",
	summary:  "wait until containers end, and exit with the exit status of the first that failed",
	examples: []string{"runtime wait build-1", "runtime wait build-1 build-2"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, anyNumber("container", args)...)
			if err != nil {
				return exit(err)
			}
			return waitAll(self.Here, args, *asJSON)
		}
	},
}

// An ending is how a container's command has ended.
type ending struct {
	Name string `json:"name"`
	Exit int    `json:"exit"`
}

// waitAll waits for all containers, in the order of their names on the command line.
// All are called before it waits for the first: one that ends meanwhile is known. A
// detached run that has ended is known by its report.
func waitAll(h here.Here, names []string, asJSON bool) (code int, err error) {
	list := []ending{}
	ended, running := map[string]int{}, []string{}
	for _, name := range names {
		r, known := endedBefore(name)
		if known && !runsNow(h, name) { // another run may have the name now
			ended[name] = r.Exit
		} else {
			running = append(running, name)
		}
	}
	lines, err := client.CallAll(h, running)
	defer func() {
		for _, line := range lines {
			_ = line.Close()
		}
	}()
	if len(names) == 1 && errors.Is(err, client.ErrNoContainer) {
		if r, known := endsSoon(names[0]); known { // it has ended meanwhile
			lines, err = nil, nil
			ended[names[0]] = r.Exit
		}
	}
	if err != nil {
		return exit(err)
	}
	ends := make([]func() (status.Status, error), len(lines))
	for i, line := range lines { // each asks at once: one may end while another runs
		end, err, done := status.Status{}, error(nil), make(chan struct{})
		go func() {
			end, err = line.Wait()
			close(done)
		}()
		ends[i] = func() (status.Status, error) {
			<-done
			return end, err
		}
	}
	at := 0
	for _, name := range names {
		exitCode, known := ended[name]
		how := fmt.Sprintf("had ended with exit status %d", exitCode)
		if !known {
			end, err := ends[at]()
			if err != nil {
				return exit(fmt.Errorf("%s: %w", name, err))
			}
			at++
			exitCode, how = end.ExitCode(), end.String()
		}
		list = append(list, ending{name, exitCode})
		if len(names) > 1 && !asJSON {
			fmt.Fprintf(stdout, "container %s %s\n", printableLine(name), how)
		}
		if code == 0 {
			code = exitCode
		}
	}
	if asJSON {
		return code, printJSON(list)
	}
	return code, nil
}
