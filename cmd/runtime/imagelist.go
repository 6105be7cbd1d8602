package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

var imageList = command{
	name:     "list",
	aliases:  []string{"ls"},
	synopsis: "[--json]",
	bare:     true,
	summary:  "list images",
	examples: []string{"runtime image list", "runtime image list --json"},
	setUp: func(flags *flag.FlagSet) action {
		form := listingFlags(flags)
		store := storeFlag(flags)
		return func(self process, _ []string) (int, error) {
			var list []image.Description
			err := withStore(self.Here, store, func(s *image.Store) (err error) {
				if list, err = s.List(); err != nil {
					return err
				}
				return countRunning(s.Here, list)
			})
			if err != nil {
				return exit(err)
			}
			return exit(form.print(list, namesOf(list, func(d image.Description) string { return d.Name }), func() error { return printImages(list) }))
		}
	},
}

// countRunning counts the running containers of each image.
func countRunning(h here.Here, list []image.Description) error {
	records, err := state.ListAll(h)
	running := map[string]int{}
	for _, r := range records {
		running[nameOfImage(r.Image)]++
	}
	for i := range list {
		list[i].Emulator = emulatorFor(list[i].Arch)
		list[i].Running = running[list[i].Name]
	}
	return err
}

// nameOfImage is the name in NAME or NAME@VERSION.
func nameOfImage(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	return name
}

func printImages(list []image.Description) error {
	return table("NAME\tVERSION\tARCH\tCREATED\tSIZE\tLAST USED\tRUNNING\tKIND", func(row func(...any)) {
		for _, d := range list {
			version, size := "", ""
			if d.Version != 0 {
				version, size = fmt.Sprint(d.Version), bytesOf(d.Bytes)
			}
			row(d.Name, version, machineOf(d), when(d.Created), size, when(d.Used), d.Running, kindOf(d))
		}
	})
}

// kindOf tells of an image's kind in words.
func kindOf(d image.Description) string {
	if d.Versions > 0 {
		return "sealed, " + count(d.Versions, "version")
	}
	return d.Kind
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

var imageHistory = command{
	name:     "history",
	synopsis: "NAME",
	summary:  "list the versions of an image",
	examples: []string{"runtime image history deb12-i386"},
	setUp: func(flags *flag.FlagSet) action {
		asJSON := jsonFlag(flags)
		store := storeFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "NAME")
			if err != nil {
				return exit(err)
			}
			var history []image.Entry
			err = withStore(self.Here, store, func(s *image.Store) (err error) {
				history, err = s.History(args[0])
				return err
			})
			switch {
			case err != nil:
				return exit(err)
			case *asJSON:
				return exit(printJSON(history))
			}
			return exit(table("VERSION\tDIGEST\tCREATED\tSIZE\tLAST USED\tUSE\tORIGIN", func(row func(...any)) {
				for _, v := range history {
					use := ""
					if v.InUse {
						use = "running"
					}
					version := strings.Join(append([]string{fmt.Sprint(v.Version)}, v.Tags...), " ")
					if v.Current {
						version += " (current)"
					}
					row(version, shortDigest(v.Digest), when(v.Created), bytesOf(v.Bytes), when(v.Used), use, v.Origin)
				}
			}))
		}
	},
}

// shownDigits is how many digits of a digest a table shows: enough to name a version.
const shownDigits = 12

func shortDigest(digest string) string {
	return digest[:min(len(digest), len(ref.DigestPrefix)+shownDigits)]
}

// An inspection is what inspect prints about an image.
type inspection struct {
	image.Description
	Record   *image.Record     `json:"record,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Sizes    *image.Sizes      `json:"sizes,omitempty"`
	Packages map[string]string `json:"packages"`
}

var imageInspect = command{
	name:     "inspect",
	synopsis: "NAME[@VERSION]",
	summary:  "show an image's origin, digest, sizes and packages",
	examples: []string{"runtime image inspect deb12-i386", "runtime image inspect --packages deb12-i386", "runtime image inspect --json deb12-i386@2"},
	setUp: func(flags *flag.FlagSet) action {
		packages := flags.Bool("packages", false, "list the packages (in JSON they are always)")
		asJSON := jsonFlag(flags)
		store := storeFlag(flags)
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 1, "NAME")
			if err != nil {
				return exit(err)
			}
			if err := mayLook(self, args[0]); err != nil {
				return exit(err)
			}
			var i inspection
			err = withStore(self.Here, store, func(s *image.Store) (err error) {
				i, err = inspect(s, args[0])
				return err
			})
			switch {
			case err != nil:
				return exit(err)
			case *asJSON:
				return exit(printJSON(i))
			}
			return exit(i.print(*packages))
		}
	},
}

// mayLook returns an error if the caller may not see what is in an image. A user who may
// run an image may see all of it.
func mayLook(self process, reference string) error {
	if os.Getuid() == 0 || self.Rootless() {
		return nil
	}
	return mayRun(self.Here, reference)
}

// mayRun returns an error if the policy does not let the caller run an image.
func mayRun(h here.Here, reference string) error {
	name := nameOfImage(reference)
	who, err := access.CurrentCaller()
	if err != nil {
		return err
	}
	database, err := user.Load(h)
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	_, err = access.Decide(h, name, who, database)
	return err
}

func inspect(s *image.Store, name string) (i inspection, err error) {
	img, err := s.Image(name)
	if err != nil {
		return i, err
	}
	defer img.Close()
	if i.Description, err = s.Describe(img); err != nil {
		return i, err
	}
	list := []image.Description{i.Description}
	if err := countRunning(s.Here, list); err != nil {
		return i, err
	}
	i.Description = list[0]
	if img.Sealed() {
		record, err := s.Record(img.Reference)
		if err != nil {
			return i, err
		}
		i.Record = &record
		if i.Tags, err = s.TagsOf(img); err != nil {
			return i, err
		}
	}
	if s.BTRFS && os.Getuid() == 0 { // btrfs(8) has not the grant
		sizes, err := img.Measure()
		if err != nil {
			return i, err
		}
		i.Sizes = &sizes
	}
	i.Packages, err = img.Packages()
	return i, err
}

func (i inspection) print(packages bool) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(stdout, "%-13s %s\n", name, printableLine(value))
		}
	}
	line("name", i.Name)
	line("kind", kindOf(i.Description))
	line("path", i.Path)
	line("architecture", machineOf(i.Description))
	if r := i.Record; r != nil {
		line("version", fmt.Sprintf("%d of %d", r.Version, i.Versions))
		line("origin", r.Origin)
		line("digest", r.Digest)
		line("tags", strings.Join(i.Tags, " "))
		line("made from", r.Parent)
		line("files", fmt.Sprint(r.Files))
		line("size", bytesOf(r.Bytes))
		for _, key := range sorted(r.Labels) {
			line("label", key+"="+r.Labels[key])
		}
		for _, entry := range r.Environment() {
			line("environment", entry)
		}
		line("not used", r.Config.Unused())
	}
	if i.Sizes != nil {
		line("exclusive", bytesOf(i.Sizes.Exclusive))
		line("shared", bytesOf(i.Sizes.Shared))
	}
	line("created", when(i.Created))
	line("last used", when(i.Used))
	line("running", fmt.Sprint(i.Running))
	if !packages {
		line("packages", fmt.Sprintf("%d (--packages lists them)", len(i.Packages)))
		return nil
	}
	line("packages", fmt.Sprint(len(i.Packages)))
	for _, name := range sorted(i.Packages) {
		fmt.Fprintf(stdout, "    %s %s\n", printableLine(name), printableLine(i.Packages[name]))
	}
	return nil
}

func sorted(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
