package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/grant"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
	"mayfly/runtime/user"
)

var grantCommand = command{
	name:     "grant",
	synopsis: "[flags] [FILE]",
	granted:  true,
	summary:  "let users execute this binary with the capabilities it needs (root only)",
	examples: []string{
		"runtime grant",
		"runtime grant --group developers",
		"runtime grant --check",
		"runtime grant --sudo --group developers >/etc/sudoers.d/mayfly",
	},
	setUp: func(flags *flag.FlagSet) action {
		var o grantOptions
		flags.BoolVar(&o.setuid, "setuid", false, "use a set-user-ID bit, where file capabilities are unavailable")
		flags.BoolVar(&o.sudo, "sudo", false, "print a line for sudoers(5) and change nothing")
		flags.BoolVar(&o.remove, "remove", false, "remove the grant")
		flags.BoolVar(&o.check, "check", false, "show the grant, whether the kernel honours it, and what works")
		flags.StringVar(&o.group, "group", "", "only members of group `NAME` may execute it")
		flags.StringVar(&o.like, "like", "", "grant what `FILE` is granted: the same kind, for the same users")
		return func(self process, args []string) (int, error) {
			args, err := positional(flags, args, 0, "file")
			if err != nil {
				return exit(err)
			}
			o.here = self.Here
			return o.do(args)
		}
	},
}

type grantOptions struct {
	here                        here.Here
	setuid, sudo, remove, check bool
	group, like                 string
}

func (o *grantOptions) do(args []string) (int, error) {
	path, err := binaryPath(args)
	if err != nil {
		return status.ExitFailure, err
	}
	chosen := 0
	for _, one := range []bool{o.setuid, o.sudo, o.remove, o.check} {
		if one {
			chosen++
		}
	}
	if o.like != "" {
		chosen++
	}
	if chosen > 1 || o.like != "" && o.group != "" {
		return status.ExitFailure, errors.New("--setuid, --sudo, --remove, --check and --like exclude each other, and --like excludes --group")
	}
	if o.check {
		return checkGrant(o.here, path, len(args) == 0)
	}
	if os.Getuid() != 0 {
		return status.ExitFailure, caller.ErrNotPermitted
	}
	return exit(o.apply(path))
}

// binaryPath returns the real path of the file, or of this program if no file is given.
func binaryPath(args []string) (string, error) {
	if len(args) == 1 {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return "", err
		}
		return filepath.EvalSymlinks(path)
	}
	return os.Executable()
}

func (o *grantOptions) apply(path string) error {
	kind, gid, err := o.wanted()
	if err != nil {
		return err
	}
	if o.sudo {
		fmt.Fprint(stdout, grant.Sudoers(path, o.group))
		return nil
	}
	if err := grant.Apply(path, kind, gid, needed(o.here)); err != nil {
		return err
	}
	state, err := grant.Look(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s, for %s\n", printableLine(path), describe(state), whoExecutes(o.here, state))
	if o.remove {
		return nil
	}
	return errors.Join(installPolicy(), cgroup.Prepare())
}

// wanted returns the kind of grant, and the id of the group that may execute the
// binary.
func (o *grantOptions) wanted() (grant.Kind, int, error) {
	if o.like != "" {
		return grant.Like(o.like)
	}
	kind := grant.FileCapabilities
	switch {
	case o.setuid:
		kind = grant.SetUID
	case o.remove:
		kind = grant.None
	}
	gid, err := o.groupNumber()
	return kind, gid, err
}

func (o *grantOptions) groupNumber() (int, error) {
	if o.group == "" {
		return grant.EveryUser, nil
	}
	database, err := user.Load(o.here)
	if err != nil {
		return 0, err
	}
	number, err := database.GroupByName(o.group)
	return int(number), err
}

// installPolicy installs the default policy if there is none. Without a policy only
// root may run anything.
func installPolicy() error {
	if err := os.MkdirAll(filepath.Join(policy.Directory, "policy.d"), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(policy.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := file.WriteString(policy.DefaultText); err != nil {
		return errors.Join(err, file.Close(), os.Remove(policy.File))
	}
	fmt.Fprintf(stdout, "%s: the default policy, to be read and changed\n", policy.File)
	return file.Close()
}

// needed returns the capabilities that launches use with this system's store, and with
// the networks that its policy names.
func needed(h here.Here) uint64 {
	all, _ := neededFor(h)
	return all
}

// neededFor is needed, with an error where the policy or the store could not be read:
// then launches may need more.
func neededFor(h here.Here) (uint64, error) {
	all := privilege.LaunchCapabilities
	private, err := policy.NamesNetwork(rule.NetworkPrivate)
	if private {
		all |= privilege.NetworkCapabilities
	}
	return all, errors.Join(err, withStore(h, storeChoice{new(string)}, func(s *image.Store) error {
		if !s.BTRFS {
			all |= privilege.OverlayCapabilities
		}
		return nil
	}))
}

// surplus returns the capabilities that the grant of this program's file gives and no
// launch needs, and the file. 0: none, or it cannot be told.
func surplus(h here.Here) (uint64, string) {
	path, err := os.Executable()
	if err != nil {
		return 0, ""
	}
	state, err := grant.Look(path)
	if err != nil || state.Kind != grant.FileCapabilities {
		return 0, path
	}
	all, err := neededFor(h)
	if err != nil {
		return 0, path
	}
	return state.Permitted &^ all, path
}

// narrowGrant takes from the grant what no launch needs any more, and returns a message
// if there was any: a grant that was given before there was a store on BTRFS has more.
func narrowGrant(h here.Here) (string, error) {
	extra, path := surplus(h)
	if extra == 0 {
		return "", nil
	}
	kind, group, err := grant.Like(path)
	if err == nil {
		err = grant.Apply(path, kind, group, needed(h))
	}
	if err != nil {
		return "", fmt.Errorf("take %s from the grant: %w", strings.Join(names(extra), ","), err)
	}
	return fmt.Sprintf("%s: the grant has %s no longer, which this store does not need", path, strings.Join(names(extra), ",")), nil
}

func describe(s grant.State) string {
	switch s.Kind {
	case grant.SetUID:
		return "set-user-ID root"
	case grant.FileCapabilities:
		return "capabilities " + strings.Join(names(s.Permitted), ",")
	}
	return "no grant"
}

// names lists the capabilities in a set: those that a launch uses by name, others by
// number.
func names(set uint64) []string {
	var list []string
	for _, n := range slices.Concat(privilege.LaunchRequirements, privilege.OverlayRequirements, privilege.NetworkRequirements) {
		if set&(1<<n.Bit) != 0 {
			list = append(list, n.Name)
			set &^= 1 << n.Bit
		}
	}
	for bit := range 64 {
		if set&(1<<bit) != 0 {
			list = append(list, fmt.Sprintf("%d", bit))
		}
	}
	return list
}

func whoExecutes(h here.Here, s grant.State) string {
	switch {
	case s.Mode&0o001 != 0:
		return "everybody"
	case s.Mode&0o010 != 0:
		return fmt.Sprintf("group %s", groupName(h, s.GID))
	}
	return "root"
}

func groupName(h here.Here, gid uint32) string {
	if database, err := user.Load(h); err == nil {
		if name, ok := database.GroupName(gid); ok {
			return name
		}
	}
	return fmt.Sprint(gid)
}

// checkGrant prints what a binary has been granted. own: the binary is this program.
func checkGrant(h here.Here, path string, own bool) (int, error) {
	state, err := grant.Look(path)
	if err != nil {
		return status.ExitFailure, err
	}
	fmt.Fprintf(stdout, "file         %s, mode %04o, uid %d, gid %d\n", printableLine(path), state.Mode, state.UID, state.GID)
	fmt.Fprintf(stdout, "grant        %s\n", describe(state))
	fmt.Fprintf(stdout, "executed by  %s\n", whoExecutes(h, state))
	notHonoured := honoured(h, path, state)
	var problem error
	if own {
		problem = errors.Join(checkHere(h)...)
	}
	if errors.Is(problem, privilege.ErrNoSUID) && errors.Is(notHonoured, privilege.ErrNoSUID) {
		notHonoured = nil // "here" says it, and what follows from it
	}
	if err := errors.Join(state.Untrusted, notHonoured, problem); err != nil {
		return status.ExitFailure, err
	}
	fmt.Fprintln(stdout, "all is well")
	return 0, nil
}

// checkHere prints what works for the caller.
func checkHere(h here.Here) []error {
	has, err := nsexec.CurrentCapabilities()
	if err != nil {
		return []error{err}
	}
	list := strings.Join(names(has.Permitted&privilege.GrantCapabilities), ",")
	if list == "" {
		list = "none"
	}
	fmt.Fprintf(stdout, "here         capabilities %s, by whatever grant\n", list)
	rules, err := policy.Check("")
	fmt.Fprintf(stdout, "policy       %d rules in %s\n", rules, policy.Directory)
	return []error{privilege.CanLaunch(), err, checkStore(h)}
}

// checkStore checks whether the caller can use the image store.
func checkStore(h here.Here) error {
	path, images := "", 0
	err := withStore(h, storeChoice{new(string)}, func(s *image.Store) error {
		path = s.Path
		list, err := s.List()
		images = len(list)
		return errors.Join(err, access.CheckStore(s))
	})
	if path != "" {
		fmt.Fprintf(stdout, "store        %d images in %s\n", images, printableLine(path))
	}
	if errors.Is(err, privilege.ErrNoPrivilege) {
		return nil // CanLaunch has said so
	}
	return err
}

// honoured checks whether the kernel gives a process the capabilities that the file has
// been granted.
func honoured(h here.Here, path string, s grant.State) error {
	missing := needed(h) &^ s.Permitted
	switch {
	case s.Kind == grant.None:
		return nil // sudo, or a service's ambient capabilities, need no grant in the file
	case s.NoSUID:
		return fmt.Errorf("%s %w", path, privilege.ErrNoSUID)
	case s.Kind == grant.FileCapabilities && missing != 0:
		return fmt.Errorf("%s lacks %s: run `runtime grant` as root", path, strings.Join(names(missing), ","))
	}
	return nil
}
