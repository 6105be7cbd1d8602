package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/recipe"
	"mayfly/runtime/inputs"
)

// mostInputs bounds a file that --inputs has written.
const mostInputs = 1 << 30

var imageSlim = command{
	name:     "slim",
	synopsis: "NAME[@VERSION] INPUTS...",
	summary:  "print a recipe with the packages of an image that builds have used: INPUTS are files that `runtime run --inputs` wrote",
	examples: []string{"runtime image slim deb12-i386 inputs.json", "runtime image slim deb12-i386 inputs.json nightly.json >image.toml"},
	setUp: func(flags *flag.FlagSet) action {
		store := storeFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 2, append([]string{"NAME", "INPUTS"}, anyNumber("INPUTS", make([]string, 1000))...)...)
			if err != nil {
				return exit(err)
			}
			used := map[string]bool{}
			for _, name := range args[1:] { // with the caller's rights
				if err := addUsed(used, name, nameOfImage(args[0])); err != nil {
					return exit(err)
				}
			}
			var text string
			err = lookInto(self, store, args[0], func(s *image.Store, img *image.Image) (err error) {
				text, err = slim(s, img, slices.Sorted(maps.Keys(used)), len(args)-1)
				return err
			})
			if err == nil {
				_, err = fmt.Fprint(stdout, text)
			}
			return exit(err)
		}
	},
}

// lookInto opens an image, if the caller may see what is in it.
func lookInto(self process, store storeChoice, name string, f func(*image.Store, *image.Image) error) error {
	if err := mayLook(self, name); err != nil {
		return err
	}
	return withStore(self.Here, store, func(s *image.Store) error {
		img, err := s.Image(name)
		if err != nil {
			return err
		}
		defer img.Close()
		return f(s, img)
	})
}

// addUsed adds the packages that a build has used.
func addUsed(used map[string]bool, name, ofImage string) error {
	text, err := readSmall(name, mostInputs)
	if err != nil {
		return err
	}
	var r inputs.Report
	err = json.Unmarshal([]byte(text), &r)
	switch {
	case err != nil || r.Image == "":
		return errors.Join(fmt.Errorf("%s: not what `runtime run --inputs` writes", name), err)
	case nameOfImage(r.Image) != ofImage:
		return fmt.Errorf("%s: it is of image %s, not %s", name, r.Image, ofImage)
	case !r.Complete:
		return fmt.Errorf("%s: the record is not complete, run the build again: %s", name, strings.Join(r.Missed, ", "))
	}
	for _, p := range r.Packages {
		used[p.Name] = true
	}
	return nil
}

// slim returns the text of the recipe.
func slim(s *image.Store, img *image.Image, used []string, builds int) (string, error) {
	installed, err := img.Installed()
	if err != nil {
		return "", err
	}
	if len(installed) == 0 {
		return "", fmt.Errorf("image %s has no packages of dpkg's", img)
	}
	base, err := withoutPackages(s, img)
	if err != nil {
		return "", err
	}
	least := image.Least(installed, used)
	base["variant"], base["include"] = "minbase", least
	var text bytes.Buffer
	encoder := toml.NewEncoder(&text)
	encoder.SetArraysMultiline(true)
	if err := encoder.Encode(base); err != nil {
		return "", err
	}
	return fmt.Sprintf("# Of the %s of %s, %s used %d. What is below brings them.\n%s",
		count(len(installed), "package"), img, count(builds, "build"), len(used), text.String()), nil
}

// withoutPackages is the recipe of an image without its packages: the one that it was
// made from, or its release.
func withoutPackages(s *image.Store, img *image.Image) (map[string]any, error) {
	settings := map[string]any{}
	if img.Sealed() {
		record, err := s.Record(img.Reference)
		if err != nil {
			return nil, err
		}
		if _, err := recipe.Parse(record.Recipe); err == nil && record.Recipe != "" {
			if err := toml.Unmarshal([]byte(record.Recipe), &settings); err != nil {
				return nil, err
			}
		}
		if settings["suite"] == nil {
			settings = map[string]any{"arch": record.Arch}
		}
	}
	if settings["suite"] == nil {
		release, err := img.Release()
		if err != nil {
			return nil, err
		}
		if release["VERSION_CODENAME"] == "" {
			return nil, fmt.Errorf("image %s does not tell its release in /etc/os-release (VERSION_CODENAME)", img)
		}
		settings["suite"] = release["VERSION_CODENAME"]
	}
	return settings, nil
}
