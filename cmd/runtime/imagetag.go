package main

import (
	"context"
	"errors"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
)

var imageTag = command{
	name:     "tag",
	synopsis: "[--remove] NAME[@VERSION] TAG",
	summary:  "give a version another name, NAME@TAG, which can lead to another version later",
	examples: []string{"runtime image tag deb12-i386 stable", "runtime image tag deb12-i386@2 release-1.4", "runtime image tag --remove deb12-i386 release-1.4"},
	setUp: func(flags *flag.FlagSet) action {
		remove := flags.Bool("remove", false, "remove the tag; the version stays")
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "TAG"}, func(_ context.Context, s *image.Store, args []string) error {
			named, err := ref.Parse(args[0])
			if err != nil {
				return err
			}
			if !*remove {
				version, err := s.Tag(named, args[1])
				if err != nil {
					return err
				}
				return printResult(*asJSON, map[string]any{"name": named.Name, "tag": args[1], "version": version}, "image %s@%s is version %d", named.Name, args[1], version)
			}
			if named.Chooses() {
				return errors.New("--remove: a tag has one version: leave out @" + named.Choice())
			}
			if err := s.Untag(named.Name, args[1]); err != nil {
				return err
			}
			return printResult(*asJSON, map[string]any{"name": named.Name, "tag": args[1], "removed": true}, "image %s has no tag %s any more", named.Name, args[1])
		})
	},
}
