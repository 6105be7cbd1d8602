package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/policy"
	"mayfly/runtime/policy/foreign"
	"mayfly/runtime/status"
)

// foreignPlaces are the configuration files of schroot and systemd-nspawn.
var foreignPlaces = []string{"/etc/schroot/schroot.conf", "/etc/schroot/chroot.d", "/etc/systemd/nspawn"}

var policyImport = command{
	name:     "import",
	synopsis: "[FILE|DIRECTORY ...]",
	summary:  "print rules converted from schroot's chroot.d and .nspawn files (default: those in /etc)",
	examples: []string{
		"runtime policy import >/etc/mayfly/policy.d/50-imported.toml",
		"runtime policy import /etc/systemd/nspawn/deb11.nspawn",
	},
	setUp: func(flags *flag.FlagSet) action {
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 0, anyNumber("file or directory", args)...)
			if err != nil {
				return exit(err)
			}
			text, err := importAll(args)
			if err != nil {
				return status.ExitFailure, err
			}
			fmt.Fprint(stdout, text)
			return 0, nil
		}
	},
}

func importAll(places []string) (string, error) {
	usual := len(places) == 0
	if usual {
		places = foreignPlaces
	}
	var all strings.Builder
	for _, place := range places {
		files, err := filesAt(place)
		if usual && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := importFile(file)
			if err != nil {
				return "", err
			}
			all.WriteString(text)
		}
	}
	if _, err := policy.CheckText("imported policy", []byte(all.String())); err != nil {
		return "", fmt.Errorf("what would come of it is no policy: %w", err)
	}
	if all.Len() == 0 {
		return "", fmt.Errorf("nothing to import in %s", strings.Join(places, ", "))
	}
	return all.String(), nil
}

// filesAt lists the files in a directory. If place is a file, it returns just that.
func filesAt(place string) ([]string, error) {
	info, err := os.Stat(place)
	if err != nil || !info.IsDir() {
		return []string{place}, err
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), "~") {
			files = append(files, filepath.Join(place, e.Name()))
		}
	}
	return files, nil
}

func importFile(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(name, ".nspawn") {
		return foreign.Nspawn(name, string(text), func(path string) bool {
			_, err := os.Stat(path)
			return err == nil
		})
	}
	return foreign.Schroot(name, string(text), func(profile string) string {
		if strings.Contains(profile, "/") || strings.HasPrefix(profile, ".") {
			return ""
		}
		for _, base := range []string{filepath.Dir(name), filepath.Dir(filepath.Dir(name))} {
			if fstab, err := os.ReadFile(filepath.Join(base, profile, "fstab")); err == nil {
				return string(fstab)
			}
		}
		return ""
	})
}
