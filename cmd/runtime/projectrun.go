package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/plan"
	"mayfly/runtime/project"
)

// run and shell take what their arguments leave out from the project's file. It is
// looked for in these cases only, so a run that names its image costs nothing more:
//
//	runtime run -- COMMAND    the image and the settings
//	runtime run NAME          these, and the command of that name
//	runtime shell             the image and the settings
//
// In all other cases the first argument is an image, and the file is not asked. So it
// is after `--` where a second `--` follows the first argument.

// arguments reads what follows the flags of run, or of shell.
func (o *options) arguments(flags *flag.FlagSet, args []string, shell bool) error {
	for _, name := range []string{"output", "sign", "provenance-env"} {
		if flags.Changed(name) && o.provenance == "" {
			return fmt.Errorf("--%s belongs to --provenance FILE", name)
		}
	}
	dashed := flags.ArgsLenAtDash() == 0 && (len(args) < 2 || args[1] != "--")
	named := !shell && len(args) == 1 && !dashed
	if o.session != "" || len(args) > 0 && !dashed && !named {
		return o.split(flags, args)
	}
	p, err := project.Find()
	switch {
	case errors.Is(err, project.ErrNone) && (named || len(args) > 1):
		o.searched = err
		return o.split(flags, args)
	case errors.Is(err, project.ErrNone):
		return fmt.Errorf("no image given: `runtime image list` shows what there is; %w", err)
	case err != nil:
		return err
	case len(args) == 0 && !shell:
		return fmt.Errorf("no command given: `runtime run -- COMMAND` runs one, `runtime project` shows those of %s", p.File)
	case p.Image.Name == "":
		return fmt.Errorf("%s names no image: image = \"NAME\" does", p.File)
	}
	if err := o.checkWait(args); err != nil {
		return err
	}
	o.image, o.imageAt, o.command = p.Image.String(), p.At(p.ImageLine()), args
	if named {
		if o.command, err = p.Command(args[0]); err != nil {
			return fmt.Errorf("%w; `runtime run -- %s` runs a program, `runtime run %s COMMAND` runs one in an image of that name", err, args[0], args[0])
		}
	}
	o.project, o.inProject = p.Dir(), named
	return o.use(flags, p)
}

// noCommand is the error of an image without a command.
func (o *options) noCommand() error {
	err := errors.New("no command given: `runtime shell IMAGE` starts a shell")
	if o.searched != nil {
		err = fmt.Errorf("%w; %w", err, o.searched)
	}
	return err
}

// explainUnknown adds to the error of an unknown image where the project's file names
// it; or what may have been meant: a command of the file, or one in its image.
func (o *options) explainUnknown(err error) error {
	switch {
	case o.imageAt != "":
		return fmt.Errorf("%s: %w", o.imageAt, err)
	case o.searched != nil:
		return fmt.Errorf("%w; %w", err, o.searched)
	case o.session != "" || strings.Contains(o.image, "@"):
		return err
	}
	p, failed := project.Find()
	switch {
	case failed != nil:
		return err
	case slices.Contains(p.Commands(), o.image):
		return fmt.Errorf("%w; %s has a command %s, which takes no arguments: `runtime run %s` runs it", err, p.File, o.image, o.image)
	}
	return fmt.Errorf("%w; `runtime run -- %s ...` runs a program in the image of %s", err, o.image, p.File)
}

// use sets the flags that the project's file sets. Those of the command line win: of a
// list the file's values come first, a mount of the file's gives way to one on the same
// place, and outputs are those of the one or the other.
func (o *options) use(flags *flag.FlagSet, p *project.Project) error {
	taken, err := o.destinations()
	if err != nil {
		return err
	}
	lists := []*[]string{&o.binds, &o.bindsReadOnly, &o.noBinds, &o.tmpfs, &o.env, &o.envFiles, &o.publish, &o.addHosts, &o.outputs}
	var given [][]string
	for _, list := range lists {
		given = append(given, *list)
		*list = nil
	}
	for _, s := range p.Settings {
		f := flags.Lookup(s.Flag)
		if f.Changed && f.Value.Type() != listType || slices.Contains(taken, destinationOf(s.Flag, s.Value)) {
			continue
		}
		if err := f.Value.Set(s.Value); err != nil { // flags.Set would set Changed
			return fmt.Errorf("%s: --%s: %w", p.At(s.Line), s.Flag, err)
		}
	}
	for _, entry := range o.env {
		if strings.Contains(entry, "=") {
			o.publicEnv = append(o.publicEnv, entry)
		}
	}
	o.projectEnv, o.projectEnvFiles, o.env, o.envFiles = o.env, o.envFiles, nil, nil
	for i, list := range lists {
		if list == &o.outputs && len(given[i]) > 0 {
			*list = nil // another build, other outputs
		}
		*list = append(*list, given[i]...)
	}
	return nil
}

// listType is what package pflag calls the type of a flag that can be given several
// times: those of declare.
const listType = "func"

// destinations lists the places on which the command line mounts something.
func (o *options) destinations() (taken []string, err error) {
	var r plan.Request
	if err := o.mounts(&r); err != nil {
		return nil, err
	}
	for _, b := range r.Binds {
		taken = append(taken, b.Destination)
	}
	for _, t := range r.Tmpfs {
		taken = append(taken, t.Destination)
	}
	return taken, nil
}

// destinationOf returns the place on which a flag mounts something; "": it does not.
func destinationOf(flag, value string) string {
	switch flag {
	case "bind", "bind-ro":
		b, _ := plan.ParseBind(value, "/", false) // it has been read once
		return b.Destination
	case "tmpfs":
		t, _ := plan.ParseTmpfs(value)
		return t.Destination
	}
	return ""
}
