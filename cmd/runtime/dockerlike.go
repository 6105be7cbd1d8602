package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mayfly/runtime/access"
)

// Flags of podman's and docker's that mean the same here, in their words.

// volume takes --volume, which is --bind or --bind-ro.
func (o *options) volume(text string) error {
	parts := strings.Split(text, ":")
	switch {
	case len(parts) > 3:
		return errors.New("want SRC:DST[:ro]; --bind takes paths with a colon")
	case len(parts) == 1:
		return errors.New("want SRC:DST[:ro]: there are no volumes here, --tmpfs DST mounts an empty tmpfs")
	case !strings.Contains(parts[0], "/") && parts[0] != "." && parts[0] != "..":
		return fmt.Errorf("%q is no path: there are no volumes here, a path in the current directory begins with ./", parts[0])
	}
	list := &o.binds
	if len(parts) == 3 {
		switch parts[2] {
		case "ro":
			list = &o.bindsReadOnly
		case "rw":
		default:
			return fmt.Errorf("option %q has no meaning here: ro, rw or none", parts[2])
		}
	}
	escape := strings.NewReplacer(`\`, `\\`).Replace
	*list = append(*list, escape(parts[0])+":"+escape(parts[1]))
	return nil
}

// addHost takes --add-host.
func (o *options) addHost(text string) error {
	name, where, _ := strings.Cut(text, ":")
	address, err := netip.ParseAddr(where)
	if strings.Trim(name, letters+"0123456789-._") != "" || name == "" || err != nil || address.Zone() != "" {
		return errors.New("want NAME:ADDRESS, such as db:127.0.0.1")
	}
	o.addHosts = append(o.addHosts, address.String()+"\t"+name)
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// mostEnvironment bounds a file of variables: execve(2) takes no more by far.
const mostEnvironment = 4 << 20

// readEnvironment puts the variables of --env-file before those of --env, and before
// both those of the project: of two with the same name the last one counts.
func (o *options) readEnvironment() error {
	list, err := readFiles(o.projectEnvFiles)
	if err != nil {
		return err
	}
	own, err := readFiles(o.envFiles)
	if err != nil {
		return err
	}
	list = slices.Concat(list, o.projectEnv, own)
	o.projectEnv, o.projectEnvFiles = nil, nil
	if o.variables != "" {
		for _, entry := range access.CallerEnviron() {
			if own, is := strings.CutPrefix(entry, o.variables); is {
				list = append(list, own)
			}
		}
	}
	o.env, o.envFiles = append(list, o.env...), nil
	return nil
}

func readFiles(names []string) (list []string, err error) {
	for _, name := range names {
		entries, err := readVariables(name)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		list = append(list, entries...)
	}
	return list, nil
}

// readVariables reads lines NAME=VALUE and NAME. Blank lines and those that begin
// with # are left out. Nothing is unquoted, as by podman and docker. The process has
// only the caller's rights on files here.
func readVariables(name string) (list []string, err error) {
	text, err := readSmall(name, mostEnvironment)
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		variable, _, _ := strings.Cut(line, "=")
		if variable == "" || strings.ContainsAny(variable, " \t\"'\x00") || strings.Contains(line, "\x00") {
			return nil, fmt.Errorf("%s:%d: want NAME=VALUE, or NAME alone, found %.40q", name, number, line)
		}
		list = append(list, line)
	}
	return list, nil
}
