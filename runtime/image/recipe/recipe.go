// Package recipe reads recipes: files from which images are made, and can be made
// again.
package recipe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
)

// A Recipe says how an image is made: from a release of a distribution or from another
// image, with additional files, and with commands to run in it.
type Recipe struct {
	From string `toml:"from"` // an image of the store, NAME or NAME@VERSION

	Suite      string   `toml:"suite"`
	Arch       string   `toml:"arch"` // Debian's name
	Variant    string   `toml:"variant"`
	Mirror     string   `toml:"mirror"`
	Components []string `toml:"components"`
	Include    []string `toml:"include"`     // packages
	Sources    []string `toml:"sources"`     // additional lines of apt's sources.list; nil: the release's updates
	AptOptions []string `toml:"apt-options"` // NAME=VALUE

	Files  []File            `toml:"file"`
	Run    []string          `toml:"run"` // each by /bin/sh -e, as root inside
	Labels map[string]string `toml:"labels"`

	Text string `toml:"-"` // as it was read
	dir  string // that names of sources are relative to
}

// A File is put into the image before the commands are run.
type File struct {
	Path    string `toml:"path"` // inside
	Content string `toml:"content"`
	Source  string `toml:"source"` // or a file, relative to the recipe
	Mode    string `toml:"mode"`   // octal, 0644 if empty
}

const (
	maxRecipe = 1 << 20  // bytes
	maxFile   = 64 << 20 // of a source
)

// Read reads a recipe. An unknown setting is an error.
func Read(name string) (*Recipe, error) {
	text, err := file.Read(name, maxRecipe)
	if err != nil {
		return nil, err
	}
	r := &Recipe{Text: string(text), dir: filepath.Dir(name)}
	if err := r.parse(text); err != nil {
		return nil, fmt.Errorf("recipe %s: %w", name, err)
	}
	return r, nil
}

// Parse reads the text of a recipe, as a version keeps it.
func Parse(text string) (*Recipe, error) {
	r := &Recipe{Text: text}
	return r, r.parse([]byte(text))
}

func (r *Recipe) parse(text []byte) error {
	decoder := toml.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(r)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		line, _ := strict.Errors[0].Position()
		return fmt.Errorf("line %d: there is no setting %s", line, strings.Join(strict.Errors[0].Key(), "."))
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		return explain(syntax)
	}
	if err != nil {
		return err
	}
	if err := refuseEmpty(text); err != nil {
		return err
	}
	return r.Check()
}

// mayBeEmpty are the settings in which an empty text has a meaning.
var mayBeEmpty = []string{"content", "labels"}

// refuseEmpty refuses empty texts. The decoder cannot tell them from missing settings.
func refuseEmpty(text []byte) error {
	var all map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		return err
	}
	return filled(all)
}

func filled(settings map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !slices.Contains(mayBeEmpty, name) {
			if err := filledOne(name, settings[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func filledOne(name string, value any) (err error) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return fmt.Errorf("%s is empty: leave it out, or say what", name)
		}
	case map[string]any:
		return filled(v)
	case []any:
		for _, one := range v {
			err = cmp.Or(err, filledOne(name, one))
		}
	}
	return err
}

// Check refuses settings that exclude each other.
func (r *Recipe) Check() error {
	if (r.From == "") == (r.Suite == "") {
		return errors.New("want either suite or from")
	}
	if r.From != "" && (r.Arch != "" || r.Variant != "" || r.Mirror != "" || r.Components != nil || r.Include != nil || r.Sources != nil ||
		r.AptOptions != nil) {
		return errors.New("arch, variant, mirror, components, include, sources and apt-options belong to suite: with from, use run")
	}
	for _, f := range r.Files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || strings.IndexByte(f.Path, 0) >= 0 || f.Path == "/" {
			return fmt.Errorf("file %q: want an absolute path inside the image", f.Path)
		}
		if f.Content != "" && f.Source != "" {
			return fmt.Errorf("file %s: content and source exclude each other", f.Path)
		}
		if _, err := f.mode(); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return nil
}

func (f File) mode() (uint32, error) {
	if f.Mode == "" {
		return 0o644, nil
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("mode %q: want octal digits, \"0755\"", f.Mode)
	}
	return uint32(mode), nil
}

// Place writes the recipe's files into an open root directory, owned by root. Links in
// their paths are followed inside that directory.
func (r *Recipe) Place(top int) error {
	here, err := mount.TreeFromFD(top).Place()
	if err != nil {
		return err
	}
	inside := mount.RootAt(top)
	for _, f := range r.Files {
		if err := r.place(inside, f, here.MountID); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return nil
}

func (r *Recipe) place(inside mount.Root, f File, mountID uint64) error {
	content := []byte(f.Content)
	if f.Source != "" {
		name := f.Source
		if !filepath.IsAbs(name) {
			name = filepath.Join(r.dir, name)
		}
		var err error
		if content, err = file.Read(name, maxFile); err != nil {
			return err
		}
	}
	mode, err := f.mode()
	if err != nil {
		return err
	}
	if _, err := inside.Create(path.Dir(f.Path), true, mountID); err != nil {
		return err
	}
	dir, err := inside.Open(path.Dir(f.Path), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, path.Base(f.Path), 0); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(dir, path.Base(f.Path), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), f.Path)
	_, err = out.Write(content)
	return errors.Join(err, unix.Fchmod(fd, mode), out.Close())
}
