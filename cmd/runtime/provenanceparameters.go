package main

import (
	"fmt"
	"slices"
	"strings"

	"mayfly/runtime/plan"
	"mayfly/runtime/provenance"
)

// parameters are what was asked for, with which the run can be made again.
func (o *options) parameters(p *plan.Plan, digest string) provenance.Parameters {
	project, directory := o.placesInside(p)
	list := provenance.Parameters{Image: p.Root.Image + "@" + digest, Command: p.Spec.Process.Args, Project: project, Directory: directory,
		Flags: o.recorded(), Env: map[string]*string{}, Outputs: o.outputs}
	for _, entry := range p.Spec.Process.Env {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "MAYFLY_"):
		case o.tells(entry):
			list.Env[name] = &value
		default:
			list.Env[name] = nil
		}
	}
	return list
}

// tells tells whether a variable's value may be in a statement: what the project's file
// has is public, other variables have to be named.
func (o *options) tells(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	return slices.Contains(o.publicEnv, entry) || slices.Contains(o.provenanceEnv, name)
}

// recorded are the flags that a statement has, those of one name in the order in which
// they count.
func (o *options) recorded() []string {
	list := []string{}
	add := func(name string, values ...string) {
		for _, value := range values {
			if value != "" {
				list = append(list, provenance.Flag(name, value))
			}
		}
	}
	set := func(name string, is bool) {
		if is {
			list = append(list, provenance.Flag(name, ""))
		}
	}
	var r plan.Request
	_ = o.mounts(&r) // it has been read once
	for _, b := range r.Binds {
		name := "bind"
		if b.ReadOnly {
			name = "bind-ro"
		}
		add(name, plan.EscapeBind(b.Source)+":"+plan.EscapeBind(b.Destination))
	}
	add("tmpfs", o.tmpfs...)
	add("no-bind", o.noBinds...)
	set("no-host-binds", o.noHostBinds)
	add("env", o.recordedVariables()...)
	set("env-all", o.envAll)
	for _, line := range o.addHosts {
		address, name, _ := strings.Cut(line, "\t")
		add("add-host", name+":"+address)
	}
	add("publish", o.publish...)
	add("chdir", o.dir)
	add("network", o.network)
	add("hostname", o.hostname)
	add("personality", o.personality)
	set("root", o.rootInside)
	add("root-as", o.rootAs)
	set("writable", o.writable)
	set("no-sync", o.noSync)
	add("memory", o.memory)
	add("swap", o.swap)
	add("tasks", unlessZero(o.tasks))
	add("cpus", unlessZero(o.cpus))
	add("timeout", unlessZero(o.timeout))
	if o.timeout != 0 {
		add("kill-after", o.killAfter.String())
	}
	return list
}

// recordedVariables are the values of --env, the last for each name: with a value where
// that may be told.
func (o *options) recordedVariables() (list []string) {
	last := map[string]string{}
	var names []string
	for _, entry := range o.env {
		name, _, _ := strings.Cut(entry, "=")
		if _, there := last[name]; !there {
			names = append(names, name)
		}
		last[name] = entry
	}
	for _, name := range names {
		entry := last[name]
		if !o.tells(entry) {
			entry = name
		}
		list = append(list, entry)
	}
	return list
}

func unlessZero[T comparable](value T) string {
	var zero T
	if value == zero {
		return ""
	}
	return fmt.Sprint(value)
}
