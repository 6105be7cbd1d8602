package main

import (
	"fmt"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/sbom"
)

var imageSBOM = command{
	name:     "sbom",
	synopsis: "NAME[@VERSION]",
	summary:  "print what is in an image as a software bill of materials: SPDX 2.3 in JSON, from dpkg's records",
	examples: []string{"runtime image sbom deb12-i386", "runtime image sbom deb12-i386@2 >deb12-i386.spdx.json"},
	setUp: func(flags *flag.FlagSet) action {
		store := storeFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "NAME")
			if err != nil {
				return exit(err)
			}
			var text []byte
			err = lookInto(self, store, args[0], func(s *image.Store, img *image.Image) (err error) {
				text, err = bill(s, img)
				return err
			})
			if err == nil {
				_, err = stdout.Write(text)
			}
			return exit(err)
		}
	},
}

func bill(s *image.Store, img *image.Image) ([]byte, error) {
	if !img.Sealed() {
		return nil, fmt.Errorf("image %s %w: it may change", img, image.ErrPlain)
	}
	record, err := s.Record(img.Reference)
	if err != nil {
		return nil, err
	}
	installed, err := img.Installed()
	if err != nil {
		return nil, err
	}
	release, err := img.Release()
	if err != nil {
		return nil, err
	}
	return sbom.SPDX(sbom.About{Image: img.String(), Digest: record.Digest, Created: record.Created, Release: release, Program: "mayfly-" + version}, installed)
}
