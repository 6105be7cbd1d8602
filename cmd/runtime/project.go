package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/project"
)

var projectCommand = command{
	name:     "project",
	granted:  true,
	rootless: asRoot,
	synopsis: "[--json] [pin [--check]]",
	summary:  "show what " + project.FileName + " says, and from where; pin: write the digest of the image's current version into it",
	examples: []string{"runtime project", "runtime project pin", "runtime project pin --check"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		check := flags.Bool("check", false, "with pin: change nothing, and fail unless the file has the digest of the current version")
		store := storeFlag(flags)
		return func(self process, args []string) (int, error) {
			if len(args) > 0 {
				var err error
				if args, err = positional(flags, args, 1, "pin"); err != nil {
					return exit(err)
				}
				if args[0] != "pin" {
					return exit(fmt.Errorf("runtime project has no command %q, only pin", args[0]))
				}
			} else if *check {
				return exit(errors.New("--check belongs to `runtime project pin`"))
			}
			p, err := project.Find()
			if err != nil {
				return exit(err)
			}
			v := view{Project: p}
			if p.Image.Name != "" {
				v.find(self, store)
			}
			switch {
			case len(args) > 0:
				return exit(v.pin(*check, *asJSON))
			case *asJSON:
				return exit(printJSON(v.data()))
			}
			return exit(v.print())
		}
	},
}

// A view is a project's file, and what its image is here.
type view struct {
	*project.Project
	version, current image.Record // of the image that the file names, and of its name alone
	err              error        // why they are not known
}

func (v *view) find(self process, store storeChoice) {
	if v.err = mayLook(self, v.Image.Name); v.err != nil {
		return
	}
	v.err = withStore(self.Here, store, func(s *image.Store) (err error) {
		if v.current, err = s.Record(ref.Reference{Name: v.Image.Name}); err == nil {
			v.version, err = s.Record(v.Image)
		}
		return err
	})
}

// pin writes the digest of the image's current version into the file.
func (v *view) pin(check, asJSON bool) error {
	if v.Image.Name == "" {
		_, err := v.WithImage(v.Image)
		return err
	}
	if v.current.Digest == "" {
		return fmt.Errorf("%s: %w", v.At(v.ImageLine()), v.err)
	}
	now, err := ref.Parse(v.Image.Name + "@" + v.current.Digest)
	if err != nil {
		return err
	}
	result := map[string]any{"file": v.File, "image": now.String(), "version": v.current.Version, "was": v.Image.String()}
	switch {
	case v.Image == now, check && v.Image.Digest != "" && v.version.Digest == v.current.Digest:
		return printResult(asJSON, result, "%s: %s@%d is the current version", v.At(v.ImageLine()), now.Name, v.current.Version)
	case check:
		return fmt.Errorf("%s: the image is %s, the current version is %d, %s: `runtime project pin` writes it", v.At(v.ImageLine()), v.Image, v.current.Version, now)
	}
	text, err := v.WithImage(now)
	if err == nil {
		err = replaceFile(v.File, text)
	}
	if err != nil {
		return err
	}
	return printResult(asJSON, result, "%s: the image is %s, version %d; it was %s", v.At(v.ImageLine()), now, v.current.Version, v.Image)
}

// replaceFile gives a file of the caller's another content, in one step.
func replaceFile(name, text string) (err error) {
	was, err := os.Lstat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(was.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// state tells what the image of the file is here.
func (v *view) state() string {
	switch {
	case v.Image.Name == "":
		return ""
	case v.err != nil:
		return v.err.Error()
	case v.version.Version == v.current.Version:
		return fmt.Sprintf("version %d, the current one", v.version.Version)
	}
	return fmt.Sprintf("version %d; the current one is %d", v.version.Version, v.current.Version)
}

// shown is the image with some digits of its digest.
func (v *view) shown() ref.Reference {
	r := v.Image
	r.Digest = r.Digest[:min(len(r.Digest), shownDigits)]
	return r
}

func (v *view) print() error {
	fmt.Fprintln(stdout, printableLine(v.File))
	return table("LINE\tSETTING\tVALUE\tHERE", func(row func(...any)) {
		if v.Image.Name != "" {
			row(v.ImageLine(), "image", v.shown(), v.state())
		}
		for _, s := range v.Settings {
			row(s.Line, "--"+s.Flag, s.Value, "")
		}
		for _, c := range v.Commands() {
			row(v.CommandLine(c), "command "+c, v.Describe(c), "`runtime run "+c+"`")
		}
	})
}

// data is the view for programs.
func (v *view) data() map[string]any {
	settings, commands := []map[string]any{}, []map[string]any{}
	for _, s := range v.Settings {
		settings = append(settings, map[string]any{"flag": s.Flag, "value": s.Value, "line": s.Line})
	}
	for _, name := range v.Commands() {
		args, _ := v.Command(name) // it has been read once
		commands = append(commands, map[string]any{"name": name, "command": args, "line": v.CommandLine(name)})
	}
	data := map[string]any{"file": v.File, "settings": settings, "commands": commands}
	if v.Image.Name != "" {
		data["image"] = map[string]any{"name": v.Image.String(), "line": v.ImageLine(), "version": v.version.Version, "digest": v.version.Digest,
			"current": v.err == nil && v.version.Version == v.current.Version}
		if v.err != nil {
			data["error"] = v.err.Error()
		}
	}
	return data
}
