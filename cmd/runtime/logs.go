package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	flag "github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
)

var logsCommand = command{
	name:     "logs",
	synopsis: "[--follow] NAME",
	summary:  "print the output of a run that was started with --detach",
	examples: []string{"runtime logs build-1", "runtime logs --follow build-1"},
	setUp: func(flags *flag.FlagSet) action {
		follow := flags.BoolP("follow", "f", false, "go on until the run ends")
		return func(_ process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "container")
			if err != nil {
				return exit(err)
			}
			return exit(withDetached(args[0], func(output, report *os.File) error {
				return printOutput(output, report, *follow)
			}))
		}
	},
}

var attachCommand = command{
	name:     "attach",
	synopsis: "NAME",
	summary:  "print the output of a run that was started with --detach, until it ends, and exit with its exit status",
	examples: []string{"runtime attach build-1"},
	setUp: func(flags *flag.FlagSet) action {
		return func(_ process, args []string) (code int, err error) {
			args, err = positional(flags, args, 1, "container")
			if err != nil {
				return exit(err)
			}
			err = withDetached(args[0], func(output, report *os.File) error {
				if err := lastLines(output); err != nil {
					return err
				}
				if err := printOutput(output, report, true); err != nil {
					return err
				}
				r, err := readReport(report.Name())
				code = r.Exit
				return err
			})
			if err != nil {
				return exit(err)
			}
			return code, nil
		}
	},
}

// withDetached opens the files of a detached run of the caller's.
func withDetached(name string, f func(output, report *os.File) error) error {
	if err := ref.CheckName("container", name); err != nil {
		return err
	}
	dir, err := detachedDirectory()
	if err != nil {
		return err
	}
	report, err := os.OpenFile(filepath.Join(dir, name+reportSuffix), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		report, err = os.OpenFile(filepath.Join(dir, name+heldSuffix), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no run %s that was started with --detach", name)
	}
	if err != nil {
		return err
	}
	defer report.Close()
	output, err := os.OpenFile(filepath.Join(dir, name+outputSuffix), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer output.Close()
	if err := f(output, report); err != nil {
		return fmt.Errorf("run %s: %w", name, err)
	}
	return nil
}

// lookForOutput is how often a file is looked at for more.
const lookForOutput = 100 * time.Millisecond

// printOutput prints the rest of a run's output as it is; with follow until the run has
// ended. What was written before the end is there when the lock has gone.
func printOutput(output, report *os.File, follow bool) error {
	for {
		last := !follow || !runs(report)
		if _, err := io.Copy(stdout, output); err != nil {
			return err
		}
		if last || stdout.err != nil {
			return nil
		}
		time.Sleep(lookForOutput)
	}
}

// shownBefore is how much attach shows of the output before it, at most, in bytes.
const shownBefore = 4096

// lastLines goes to the beginning of a line near the end of the output.
func lastLines(output *os.File) error {
	info, err := output.Stat()
	if err != nil || info.Size() <= shownBefore {
		return err
	}
	if _, err := output.Seek(-shownBefore, io.SeekEnd); err != nil {
		return err
	}
	buffer := make([]byte, shownBefore)
	n, err := io.ReadFull(output, buffer)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	back := n
	for i, c := range buffer[:n] {
		if c == '\n' {
			back = n - i - 1
			break
		}
	}
	_, err = output.Seek(int64(-back), io.SeekCurrent)
	return err
}
