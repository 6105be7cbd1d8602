// Package ci speaks the protocols of CI systems, each in a file of its own. It makes no
// system calls but on the files that a protocol names: it asks a Machine for containers.
package ci

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"mayfly/runtime/image/ref"
)

// A Machine runs containers. Held containers stay until they are released; commands run
// in them one after the other.
type Machine interface {
	// Hold begins a held container. flags are those of `runtime run`.
	Hold(Container) error
	// Exec runs a command in a held container, and returns its exit status. An error
	// means that it did not run.
	Exec(Command) (int, error)
	// Run runs a command in a container of its own. An exit status that is Mayfly's
	// own is an error.
	Run(Container) (int, error)
	// Outside runs a command on the host, as the caller.
	Outside(args ...string) (int, error)
	// Holds tells whether there is a held container of that name.
	Holds(name string) bool
	// Release ends the held containers whose names are NAME or begin with NAME and a
	// dash, also one that is about to begin. Others of that name it leaves alone.
	Release(name string) error
}

// A Container is one to begin.
type Container struct {
	Name, Image string
	Flags       []string
	Variables   []string // NAME=VALUE; no other user can see the values
	Command     []string // nil: none, it waits for others
}

// A Command is one to run in a held container.
type Command struct {
	Container string
	Args      []string
	Variables []string // NAME=VALUE
	Dir       string
	Input     string // file that is its standard input; "": that of this process
}

// A Setup is what the administrator of a runner says for all of its jobs.
type Setup struct {
	Flags     []string // of `runtime run`
	Image     string   // for jobs that name none; "": there is none
	Helper    string   // of GitLab: an image with git and gitlab-runner for what the runner does; "": the host
	Variables func(string) string
}

// image returns the image of a job that names one, or none.
func (s Setup) image(named string) (string, error) {
	if named = cmp.Or(named, s.Image); named == "" {
		return "", errors.New("the job names no image, and no image follows the flags of `runtime ci`")
	}
	return named, checkImage(named)
}

// checkImage refuses what is no image's name: the authors of jobs write it.
func checkImage(name string) error {
	if _, err := ref.Parse(name); err != nil {
		return fmt.Errorf("the job's image: %w; `runtime image list` shows what there is", err)
	}
	return nil
}

// safe makes a part of a container's name of any text.
func safe(text string) string {
	const most = 24
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, text)
	if clean == text && len(text) <= most {
		return text
	}
	h := fnv.New32a()
	h.Write([]byte(text))
	return fmt.Sprintf("%.*s_%08x", most, clean, h.Sum32())
}

// bind returns the flag of run for a bind.
func bind(source, target string, readOnly bool) []string {
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace
	flag := "--bind"
	if readOnly {
		flag = "--bind-ro"
	}
	return []string{flag, escape(source) + ":" + escape(target)}
}
