package foreign

import (
	"path"
	"slices"
	"strings"
)

// Schroot converts a file of schroot's chroot.d (schroot.conf(5)) into rules. fstab
// returns the text of a profile's fstab, or "" if there is none.
func Schroot(name, text string, fstab func(profile string) string) (string, error) {
	sections, err := parseINI(name, text, false)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range sections {
		schrootRule(name, s, fstab).write(&b)
	}
	return b.String(), nil
}

func schrootRule(file string, s section, fstab func(string) string) converted {
	r := converted{title: file + ": [" + s.name + "]", bindReadOnly: slices.Clone(usualBinds)}
	image, profile := s.name, "default"
	var aliases []string
	for _, set := range s.settings {
		switch set.name {
		case "type", "description", "profile-options", "message-verbosity":
		case "directory", "btrfs-source-subvolume":
			image = path.Base(set.value)
			if !inStore(set.value) {
				r.source = set.value
			}
		case "file": // an archive that schroot unpacks, or a disk image
			r.source = set.value
		case "aliases":
			aliases = words(set.value)
		case "users":
			r.users = words(set.value)
		case "groups":
			r.groups = words(set.value)
		case "profile":
			profile = set.value
		case "personality":
			switch set.value {
			case "linux32", "linux_32bit":
				r.personality = "x86"
			case "linux", "undefined":
			default:
				r.lost = append(r.lost, "personality="+set.value)
			}
		case "preserve-environment":
			r.environment = set.value == "true"
		default:
			r.lost = append(r.lost, set.name+"="+set.value)
		}
	}
	r.images = append([]string{image}, aliases...)
	// In schroot only root may use a chroot without users and groups.
	r.nobody = len(r.users) == 0 && len(r.groups) == 0
	// A schroot session is a writable snapshot, which is discarded.
	r.writable = true
	r.binds(fstab(profile))
	return r
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
}

// binds takes over the binds of a profile whose source and destination are the same
// path.
func (r *converted) binds(fstab string) {
	for line := range strings.Lines(fstab) {
		f := strings.Fields(line)
		if len(f) < 4 || strings.HasPrefix(f[0], "#") {
			continue
		}
		options := strings.Split(f[3], ",")
		if !slices.Contains(options, "bind") && !slices.Contains(options, "rbind") {
			continue
		}
		if f[0] == f[1] && own(f[0]) {
			continue
		}
		if f[0] != f[1] || !bindable(f[0]) {
			r.lost = append(r.lost, "fstab: "+strings.TrimSpace(line))
			continue
		}
		r.add(f[0], slices.Contains(options, "ro"))
	}
}

// own returns whether every container has its own directory at a path.
func own(name string) bool { return path.IsAbs(name) && path.Clean(name) != "/" && !bindable(name) }

func (r *converted) add(name string, readOnly bool) {
	target := &r.bind
	if readOnly {
		target = &r.bindReadOnly
	}
	if !slices.Contains(*target, name) {
		*target = append(*target, name)
	}
}
