package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	flag "github.com/spf13/pflag"

	"mayfly/runtime"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/recipe"
	"mayfly/runtime/plan"
	"mayfly/runtime/status"
)

var imageCreate = command{
	name:     "create",
	synopsis: "NAME [RECIPE | --suite SUITE | --from IMAGE] [flags]",
	summary:  "create an image from a Debian or Ubuntu release, or from another image",
	examples: []string{
		"runtime image create deb12-i386 --suite bookworm --arch i386 --include build-essential,git",
		"runtime image create deb11 --suite bullseye --mirror http://mirror.example/debian",
		"runtime image create deb12-qt image.toml",
		"runtime image create deb12-qt --from deb12-i386 --run 'apt-get update && apt-get install -y qtbase5-dev'",
		"runtime image create deb12-i386 --next image.toml",
	},
	setUp: func(flags *flag.FlagSet) action {
		c := declareCreation(flags)
		return inStore(flags, 1, []string{"NAME", "RECIPE"}, func(ctx context.Context, s *image.Store, args []string) error {
			c.name = args[0]
			if err := c.complete(args[1:]); err != nil {
				return err
			}
			return c.create(ctx, s)
		})
	},
}

// A creation is a request to create an image. Flags make a recipe like a recipe file
// does.
type creation struct {
	name   string
	recipe recipe.Recipe
	next   bool
	asJSON bool

	updates []string // lines of sources.list
}

// Defaults of a recipe.
const (
	defaultVariant = "minbase"
	defaultMirror  = image.DebianMirror
)

func declareCreation(flags *flag.FlagSet) *creation {
	c := &creation{}
	r := &c.recipe
	flags.StringVar(&r.Suite, "suite", "", "`SUITE` of the distribution, e.g. bookworm, jammy")
	flags.StringVar(&r.From, "from", "", "`IMAGE` to start from: NAME or NAME@VERSION")
	flags.StringVar(&r.Arch, "arch", "", "Debian `ARCH`: amd64, i386, arm64, armhf, riscv64 (default: this machine's)")
	flags.StringVar(&r.Variant, "variant", "", "`VARIANT` of the bootstrap program (default: "+defaultVariant+")")
	flags.StringVar(&r.Mirror, "mirror", "", "`URL` to download from (default: "+defaultMirror+", with updates)")
	words := func(name, usage string, into *[]string) {
		flags.Func(name, usage, func(list string) error {
			names := strings.Split(list, ",")
			if slices.Contains(names, "") {
				return errors.New(`want names between commas, and "" is none`)
			}
			*into = append(*into, names...)
			return nil
		})
	}
	words("include", "`PACKAGES` to add, separated by commas", &r.Include)
	words("components", "`COMPONENTS` of the distribution, separated by commas (default: main)", &r.Components)
	flags.Func("apt-option", "option `NAME=VALUE` of apt.conf(5), for the image and its creation (repeatable)", appendTo(&r.AptOptions))
	flags.Func("run", "run `COMMAND` in it with /bin/sh, as root inside (repeatable)", appendTo(&r.Run))
	flags.BoolVar(&c.next, "next", false, "add a version to an existing image")
	flags.BoolVar(&c.asJSON, "json", false, "print JSON")
	return c
}

// complete reads the recipe file, if there is one, and fills in the defaults.
func (c *creation) complete(files []string) error {
	flags := c.recipe
	if len(files) > 0 {
		if flags.Suite != "" || flags.From != "" || flags.Arch != "" || flags.Variant != "" || flags.Mirror != "" ||
			flags.Include != nil || flags.Components != nil || flags.AptOptions != nil || flags.Run != nil {
			return fmt.Errorf("recipe %q and flags that say what is in the image exclude each other: write it all into the recipe", files[0])
		}
		r, err := recipe.Read(files[0])
		if err != nil {
			return err
		}
		c.recipe = *r
	}
	if err := c.recipe.Check(); err != nil {
		return err
	}
	fill := func(setting *string, value string) {
		if *setting == "" {
			*setting = value
		}
	}
	c.findUpdates()
	fill(&c.recipe.Arch, image.HostArch())
	fill(&c.recipe.Variant, defaultVariant)
	fill(&c.recipe.Mirror, defaultMirror)
	return nil
}

func (c *creation) create(ctx context.Context, s *image.Store) error {
	if err := s.CheckFree(c.name, c.next); err != nil {
		return err
	}
	if c.recipe.From == "" {
		if err := checkArch(c.recipe.Arch); err != nil {
			return fmt.Errorf("image %s: %w", c.name, err)
		}
	}
	p := begin("create "+c.name, "copy", 0)
	defer p.stop()
	draft, err := c.begin(ctx, s, p)
	if err != nil {
		return err
	}
	record, err := c.fill(ctx, s, draft, p)
	if err = errors.Join(err, draft.Discard()); err != nil {
		return fmt.Errorf("image %s: %w", c.name, err)
	}
	return printVersion(c.asJSON, c.name, record)
}

// begin makes the draft: empty, or a snapshot of an image.
func (c *creation) begin(ctx context.Context, s *image.Store, p *progress) (*image.Draft, error) {
	if c.recipe.From == "" {
		return s.NewDraft(ctx, nil, nil)
	}
	from, err := s.Image(c.recipe.From)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return s.NewDraft(ctx, from, p.add)
}

func (c *creation) fill(ctx context.Context, s *image.Store, draft *image.Draft, p *progress) (image.Record, error) {
	r := &c.recipe
	origin := "made from image " + r.From
	downloads, err := draft.Downloads()
	if err != nil {
		return image.Record{}, err
	}
	if r.From == "" {
		p.next("check", 0)
		origin = fmt.Sprintf("made from suite %s for %s of %s", r.Suite, r.Arch, r.Mirror)
		if err := draft.Bootstrap(ctx, image.Bootstrap{Suite: r.Suite, Arch: r.Arch, Variant: r.Variant, Mirror: r.Mirror,
			Components: r.Components, Include: r.Include, Sources: r.Sources, Updates: c.updates, AptOptions: r.AptOptions, Output: p}); err != nil {
			return image.Record{}, err
		}
	}
	if err := r.Place(draft.FD()); err != nil {
		return image.Record{}, err
	}
	p.next("configure", 0)
	p.hold(true)
	for _, command := range r.Run {
		fmt.Fprintln(os.Stderr, "run: "+printableLine(command))
		m := maintenance{here: s.Here, store: s.Path, image: c.name, draft: draft, command: []string{"/bin/sh", "-ec", command}}
		status, err := m.run(ctx)
		if err == nil && status.ExitCode() != 0 {
			err = fmt.Errorf("it %s", status)
		}
		if err != nil {
			return image.Record{}, fmt.Errorf("run %q: %w", command, err)
		}
	}
	if err := removeDownloads(draft, downloads); err != nil {
		return image.Record{}, err
	}
	p.hold(false)
	p.next("seal", 0)
	return draft.Seal(ctx, image.Sealing{Name: c.name, Next: c.next, Origin: origin, Labels: r.Labels, Recipe: r.Text, Progress: p.add})
}

// A maintenance is a command that changes a draft, as root inside.
type maintenance struct {
	here          here.Here
	store, image  string
	draft         *image.Draft
	command       []string
	login, mapped bool // mapped: root of a user namespace only
	signals       <-chan os.Signal
}

func (m maintenance) run(ctx context.Context) (status.Status, error) {
	return runtime.Run(ctx, m.here, plan.Request{
		Store: m.store, Image: m.image, Draft: m.draft.Name, DraftEnv: m.draft.Environment(), Command: m.command, Login: m.login, RootInside: m.mapped, NoEphemeral: true, Dir: "/",
		Env: []string{"DEBIAN_FRONTEND=noninteractive", "http_proxy", "https_proxy", "no_proxy"},
	}, runtime.Options{Signals: m.signals, Note: func(text string) { message("runtime: %s", text) }})
}

var imageShell = command{
	name:     "shell",
	synopsis: "[--keep | --discard] [--keep-downloads] [--root] NAME [-- COMMAND [ARG...]]",
	summary:  "change an image in a shell, as root inside; keep the changes as its next version, or discard them",
	examples: []string{
		"runtime image shell deb12-i386",
		"runtime image shell --keep deb12-i386 -- apt-get -y upgrade",
	},
	setUp: func(flags *flag.FlagSet) action {
		var e edit
		flags.BoolVar(&e.keep, "keep", false, "keep the changes, unless the command fails (default: ask on a terminal)")
		flags.BoolVar(&e.mapped, "root", false, "be root of a user namespace only, mapped to root's subordinate ids; see subuid(5)")
		flags.BoolVar(&e.downloads, "keep-downloads", false, "keep the package lists and packages that apt downloaded")
		flags.BoolVar(&e.discard, "discard", false, "discard the changes")
		asJSON := jsonFlag(flags)
		store := storeFlag(flags)
		act := asImageAdmin(func(ctx context.Context, self process, _ []string) error {
			s, err := image.Open(self.Here, store.path(self.Here))
			if err != nil {
				return err
			}
			defer s.Close()
			record, kept, err := e.run(ctx, s)
			if err != nil || !kept {
				return s.Explain(err)
			}
			return printVersion(*asJSON, e.name, record)
		})
		return func(self process, args []string) (int, error) {
			if err := e.split(flags, args); err != nil {
				return exit(err)
			}
			code, err := act(self, args)
			return cmp.Or(e.failed, code), err
		}
	},
}

// An edit changes an image by hand.
type edit struct {
	name          string
	command       []string
	keep, discard bool
	mapped        bool // root of a user namespace only
	downloads     bool // keep what apt has downloaded
	failed        int  // the command's exit status
}

// split splits the arguments, and refuses those that would be wrong for any image.
func (e *edit) split(flags *flag.FlagSet, args []string) (err error) {
	e.name, e.command, err = split(flags, "image", args)
	switch {
	case err != nil:
		return err
	case e.name == "":
		return errors.New("no image given: `runtime image list` shows what there is")
	case len(e.command) > 0 && e.command[0] == "":
		return isEmpty(flags, "command")
	case e.keep && e.discard:
		return errors.New("--keep and --discard exclude each other")
	}
	return nil
}

func (e *edit) run(ctx context.Context, s *image.Store) (record image.Record, kept bool, err error) {
	if !e.keep && !e.discard && !isTerminal() {
		return record, false, errors.New("standard input is no terminal to ask on: --keep or --discard")
	}
	from, err := s.Image(e.name)
	if err != nil {
		return record, false, err
	}
	defer from.Close()
	if !from.Sealed() {
		return record, false, fmt.Errorf("image %s %w: `runtime shell --no-ephemeral %s` changes it", e.name, image.ErrPlain, e.name)
	}
	p := begin("change "+e.name, "copy", 0)
	draft, err := s.NewDraft(ctx, from, p.add)
	p.stop()
	if err != nil {
		return record, false, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	downloads, err := draft.Downloads()
	if err != nil {
		return record, false, err
	}
	message("A copy of %s, as root inside: what is done in it is kept only if you say so.", from)
	// SIGTSTP (Ctrl-Z) stays at its default: os/signal.Reset would leave it ignored,
	// and the user is asked a question later.
	signals, err := listen(syscall.SIGTSTP)
	if err != nil {
		return record, false, err
	}
	m := maintenance{here: s.Here, store: s.Path, image: from.Name, draft: draft, command: e.command, login: true, mapped: e.mapped, signals: signals}
	status, err := m.run(ctx)
	if err != nil {
		return record, false, err
	}
	if kept, err = e.decide(status); err != nil || !kept {
		return record, false, err
	}
	if !e.downloads {
		if err := removeDownloads(draft, downloads); err != nil {
			return record, false, err
		}
	}
	seal := begin("change "+e.name, "seal", 0)
	defer seal.stop()
	record, err = draft.Seal(ctx, image.Sealing{Name: from.Name, Next: true, Origin: e.origin(from), Progress: seal.add})
	return record, true, err
}

func (e *edit) origin(from *image.Image) string {
	origin := "changed by hand from " + from.String()
	if len(e.command) > 0 {
		origin += ": " + strings.Join(e.command, " ")
	}
	return origin
}

// decide returns whether the changes are kept.
func (e *edit) decide(status status.Status) (bool, error) {
	if len(e.command) > 0 { // a shell's status is that of its last command only
		e.failed = status.ExitCode()
	}
	switch {
	case e.discard:
		return false, nil
	case e.failed != 0 && e.keep:
		return false, fmt.Errorf("the command %s: nothing is kept", status)
	case e.keep:
		return true, nil
	}
	fmt.Fprintf(os.Stderr, "Keep this as the next version of %s? [y/N] ", e.name)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	if answer == "y" || answer == "yes" {
		return true, nil
	}
	fmt.Fprintln(os.Stderr, "Nothing is kept.")
	return false, nil
}
