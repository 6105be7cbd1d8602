package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"mayfly/runtime/here"
	"mayfly/runtime/state"
)

// tell prints a list of images and sessions, or what there is to say of each, or where
// sessions are.
func (s *schroot) tell(h here.Here) error {
	images, sessions, err := s.selected(h)
	if err != nil {
		return err
	}
	for _, name := range images {
		switch {
		case s.list:
			fmt.Fprintln(stdout, chrootPrefix+name)
		case s.location:
			return fmt.Errorf("%s is an image: only a session has a location", name)
		case s.config:
			if err := tellConfig(h, name); err != nil {
				return err
			}
		default:
			tellImage(name)
		}
	}
	for _, r := range sessions {
		switch {
		case s.list:
			fmt.Fprintln(stdout, sessionPrefix+r.Name)
		case s.location:
			fmt.Fprintln(stdout, printableLine(locationOf(r.Name)))
		default:
			tellSession(r)
		}
	}
	return nil
}

// selected returns what the flags select. Without any that is all images.
func (s *schroot) selected(h here.Here) (images []string, sessions []state.Record, err error) {
	if images, err = imageNames(h); err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Clone(images) { // each is there without the host's binds, too
		if plain := name + withoutBinds; !strings.HasSuffix(name, withoutBinds) && !slices.Contains(images, plain) {
			images = append(images, plain)
		}
	}
	slices.Sort(images)
	if sessions, err = sessionsOf(h); err != nil {
		return nil, nil, err
	}
	none := !s.everything && !s.allChroots && !s.allSessions && !s.allSources
	if len(s.chroots) > 0 && none {
		all, err := recordsOf(h, uint32(os.Getuid())) // of any container
		if err != nil {
			return nil, nil, err
		}
		return named(s.chroots, images, all)
	}
	if !none && !s.everything && !s.allChroots {
		images = nil
	}
	if !s.everything && !s.allSessions {
		sessions = nil
	}
	return images, sessions, nil
}

// named returns those of the images and sessions that have one of the names.
func named(names, images []string, sessions []state.Record) (i []string, s []state.Record, err error) {
	for _, name := range names {
		image, session := strings.TrimPrefix(name, chrootPrefix), strings.TrimPrefix(name, sessionPrefix)
		at := slices.IndexFunc(sessions, func(r state.Record) bool { return r.Name == session })
		switch {
		case session != name && at >= 0:
			s = append(s, sessions[at])
		case slices.Contains(images, image):
			i = append(i, image)
		default:
			return nil, nil, fmt.Errorf("there is no image or session %s: `schroot -l --all` lists them", name)
		}
	}
	return i, s, nil
}

// tellConfig prints what autopkgtest reads of schroot's configuration: who may be root.
func tellConfig(h here.Here, name string) error {
	base, err := baseOf(h, name)
	if err != nil {
		return err
	}
	_, me, err := callersEntry(h)
	if err != nil {
		return err
	}
	root := me.Name
	if me.UID != 0 {
		may, err := mayBeRoot(h, base)
		if err != nil {
			return err
		}
		if !may {
			root = ""
		}
	}
	fmt.Fprintf(stdout, "[%s]\ntype=mayfly\naliases=\nusers=%s\ngroups=\nroot-users=%s\nroot-groups=\n", name, me.Name, root)
	return nil
}

func tellImage(name string) {
	printFields("Chroot", [][2]string{{"Name", name}, {"Description", ""}, {"Type", "mayfly"}, {"Aliases", ""}, {"Session Managed", "true"}, {"Session Cloned", "true"}, {"Session Purged", "false"}})
}

func tellSession(r state.Record) {
	printFields("Session", [][2]string{{"Name", r.Name}, {"Description", "of image " + r.Image}, {"Type", "mayfly"}, {"Aliases", ""}, {"Session Managed", "false"},
		{"Session Cloned", "false"}, {"Session Purged", "true"}, {"Mount Location", printableLine(locationOf(r.Name))}, {"Path", printableLine(locationOf(r.Name))},
		{"Original Chroot Name", nameOfImage(r.Image)}, {"Session ID", r.Name}})
}

// printFields prints a paragraph in the form that programs read from schroot.
func printFields(kind string, fields [][2]string) {
	fmt.Fprintf(stdout, "  --- %s ---\n", kind)
	for _, f := range fields {
		fmt.Fprintf(stdout, "  %-22s %s\n", f[0], f[1])
	}
}
