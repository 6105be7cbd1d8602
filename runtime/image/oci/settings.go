package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Settings are the settings for running programs in an image's configuration
// (config.md), with the specification's names.
type Settings struct {
	Env          []string            `json:"Env,omitempty"` // NAME=VALUE
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	User         string              `json:"User,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`

	// Docker's own, which the specification only mentions.
	Healthcheck json.RawMessage `json:"Healthcheck,omitempty"`
	OnBuild     []string        `json:"OnBuild,omitempty"`
	Shell       []string        `json:"Shell,omitempty"`
}

// maxEnv is the size limit of an image's environment, in bytes. execve(2) accepts 128
// KiB for one entry.
const maxEnv = 64 << 10

// Checked checks the settings. It returns nil if nothing is set.
func (s *Settings) Checked() (*Settings, error) {
	if s == nil {
		return nil, nil
	}
	if string(s.Healthcheck) == "null" { // as docker save writes what is not there
		s.Healthcheck = nil
	}
	if text, err := json.Marshal(s); err != nil || string(text) == "{}" {
		return nil, err
	}
	if err := checkEnv(s.Env); err != nil {
		return nil, fmt.Errorf("the image's configuration: %w", err)
	}
	return s, nil
}

func checkEnv(list []string) error {
	bytes := 0
	for _, entry := range list {
		name, _, set := strings.Cut(entry, "=")
		switch {
		case !set || name == "":
			return fmt.Errorf("environment entry %+.80q: want NAME=VALUE", entry)
		case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("environment entry %+.80q: its name has a blank, or a character that is none of printable ASCII", entry)
		case strings.IndexByte(entry, 0) >= 0:
			return fmt.Errorf("environment entry %+.80q has a NUL byte", entry)
		}
		if bytes += len(entry) + 1; bytes > maxEnv {
			return errors.New("its environment is larger than 64 KiB")
		}
	}
	return nil
}

// Unused lists the settings that have no effect on a run; "" if there are none.
func (s *Settings) Unused() string {
	if s == nil {
		return ""
	}
	var list []string
	add := func(set bool, text string, values ...any) {
		if set {
			list = append(list, fmt.Sprintf(text, values...))
		}
	}
	add(s.WorkingDir != "", "WorkingDir %+.200q", s.WorkingDir)
	add(s.User != "", "User %+.200q", s.User)
	add(len(s.Entrypoint) > 0, "Entrypoint %+.200q", s.Entrypoint)
	add(len(s.Cmd) > 0, "Cmd %+.200q", s.Cmd)
	add(len(s.ExposedPorts) > 0, "ExposedPorts")
	add(len(s.Volumes) > 0, "Volumes")
	add(s.StopSignal != "", "StopSignal")
	add(len(s.Healthcheck) > 0, "Healthcheck")
	add(len(s.OnBuild) > 0, "OnBuild")
	add(len(s.Shell) > 0, "Shell %+.200q", s.Shell)
	return strings.Join(list, ", ")
}
