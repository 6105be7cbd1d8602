package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/policy"
	"mayfly/runtime/user"
)

// Without a grant the program executes itself again in a user namespace of the caller's own, with a copy of the host's mounts.
// There it is permitted what a grant permits, over nothing but what is the caller's: see package realm. What is below
// happens outside of it. (A process with several threads, as every Go program is, cannot enter one itself.)

// Arrive is called first of all: see realm.Arrive.
func Arrive() error { return realm.Arrive() }

// An Own is a user namespace that is to be made.
type Own struct {
	Asked bool // by the caller; else it is for want of a grant
	Root  bool // be root there, who changes images
	// Limits gives the caller's soft limits back, that the new program begins with them.
	Limits func()
	// Signals begins to receive those that are passed on: see Supervisor.
	Signals func() func() <-chan os.Signal
}

// Wanted tells whether a command of the caller's is to be run in a user namespace of their own. It is false inside one.
func (o Own) Wanted() (bool, error) {
	uid := os.Getuid()
	switch {
	case realm.Own():
		return false, nil
	case o.Asked && uid == 0:
		return false, errors.New("--unprivileged is for others than root, who needs no grant")
	case o.Asked:
		return true, nil
	case uid == 0:
		return false, nil
	}
	lacks, err := missing(NeededCapabilities)
	if err != nil || lacks == nil {
		return false, err
	}
	settings, err := policy.LoadSettings()
	if errors.Is(err, unix.EACCES) { // it is not for the caller to read, and they need nobody's leave
		return true, nil
	}
	return settings.Unprivileged, err
}

// Run executes the program again, with the same arguments, and returns its exit status. Signals are passed on.
func (o Own) Run() (int, error) {
	if err := checkUserNamespaces(); err != nil {
		return ExitFailure, err
	}
	database, err := user.Load()
	if err != nil {
		return ExitFailure, fmt.Errorf("read user database: %w", err)
	}
	caller, err := CurrentCaller()
	if err != nil {
		return ExitFailure, err
	}
	who, _, err := database.ByID(caller.UID)
	if errors.Is(err, user.ErrUnknown) {
		who, err = nameless(caller), nil
	}
	if err != nil {
		return ExitFailure, err
	}
	who.GID = caller.GID
	directory, err := ownDirectory(who)
	if err != nil {
		return ExitFailure, err
	}
	ids, err := o.ids(database, who)
	if err != nil {
		return ExitFailure, err
	}
	signals := o.Signals()
	pid, err := o.start(directory)
	if err != nil {
		return ExitFailure, err
	}
	if err := errors.Join(ids.give(pid), unix.Kill(pid, unix.SIGCONT)); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = await(pid, 0)
		return ExitFailure, err
	}
	go passOn(signals(), pid)
	ws, err := await(pid, 0)
	if err != nil {
		return ExitFailure, fmt.Errorf("wait: %w", err)
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}

// start starts the program, which stops until it has its ids.
func (o Own) start(directory string) (pid int, err error) {
	goruntime.LockOSThread() // with whose end the new process is killed
	o.Limits()
	env := append(os.Environ(), realm.Variable+"="+realm.Entry(directory))
	pid, err = nsexec.StartInUserNamespace("/proc/self/exe", os.Args, env, GrantCapabilities|ownCapability)
	if err != nil {
		return 0, fmt.Errorf("make a user namespace: %w", explainUserNamespace(err))
	}
	return pid, nil
}

// stopped waits until the process has stopped itself: until then, what the kernel says of it is not true yet.
func stopped(pid int) error {
	ws, err := await(pid, unix.WUNTRACED)
	if err == nil && !ws.Stopped() {
		err = fmt.Errorf("it has ended at once (%v)", ws)
	}
	if err != nil {
		return fmt.Errorf("process in a user namespace: %w", err)
	}
	return nil
}

// await waits for a child.
func await(pid, options int) (ws unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(pid, &ws, options, nil); err != unix.EINTR {
			return ws, err
		}
	}
}

// passOn sends signals on. What the keys of a terminal send, all of the job has got already.
func passOn(signals <-chan os.Signal, pid int) {
	for s := range signals {
		switch s {
		case syscall.SIGWINCH:
			continue
		case syscall.SIGINT, syscall.SIGQUIT:
			if inForeground() {
				continue
			}
		}
		_ = unix.Kill(pid, s.(syscall.Signal))
	}
}

// inForeground tells whether the process is in the job that has the terminal.
func inForeground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// ownDirectory is where what is the caller's own is kept. It is made where it is missing.
func ownDirectory(who user.Entry) (string, error) {
	above := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(above) {
		above = filepath.Join(who.Home, ".local/share")
	}
	directory := filepath.Join(above, "mayfly")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", fmt.Errorf("directory for your own images: %w; XDG_DATA_HOME names another place", err)
	}
	return directory, nil
}

// ownIDs are the ids of a user namespace, that are to be given to it.
type ownIDs struct {
	uids, gids string // as the kernel takes them, where newuidmap(1) does not
	newuidmap  []string
	newgidmap  []string
}

// ids are those of a caller: with subordinate ones, all that a system has; else their own, as root's where the program
// is to be root.
func (o Own) ids(database *user.Database, who user.Entry) (ownIDs, error) {
	uids, err := database.Subordinate(user.SubUIDFile, who, rootIDs)
	var gids user.Range
	if err == nil {
		gids, err = database.Subordinate(user.SubGIDFile, who, rootIDs)
	}
	newuidmap, missing := exec.LookPath("newuidmap")
	newgidmap, missingToo := exec.LookPath("newgidmap")
	if err != nil || missing != nil || missingToo != nil {
		if err != nil && !errors.Is(err, user.ErrNoRange) && !errors.Is(err, os.ErrNotExist) {
			return ownIDs{}, err
		}
		inside := func(id uint32) uint32 {
			if o.Root {
				return 0
			}
			return id
		}
		return ownIDs{uids: fmt.Sprintln(inside(who.UID), who.UID, 1), gids: fmt.Sprintln(inside(who.GID), who.GID, 1)}, nil
	}
	arguments := func(own uint32, r user.Range) (list []string) {
		for _, m := range idMappings(own, r.First) {
			list = append(list, fmt.Sprint(m.ContainerID), fmt.Sprint(m.HostID), fmt.Sprint(m.Size))
		}
		return list
	}
	return ownIDs{newuidmap: append([]string{newuidmap}, arguments(who.UID, uids)...), newgidmap: append([]string{newgidmap}, arguments(who.GID, gids)...)}, nil
}

// give gives the ids to the namespace of a process, and waits until it has stopped.
func (i ownIDs) give(pid int) error {
	if i.newuidmap == nil {
		if err := stopped(pid); err != nil {
			return err
		}
		return writeOwnMaps(pid, i.uids, i.gids)
	}
	first, err := startMapper(i.newuidmap, pid)
	second, errToo := startMapper(i.newgidmap, pid)
	return errors.Join(err, errToo, first(), second(), stopped(pid))
}

// startMapper starts newuidmap(1) or newgidmap(1), which are privileged and see to it that the ids are the caller's. They write to
// standard error what is wrong.
func startMapper(command []string, pid int) (wait func() error, err error) {
	arguments := append([]string{command[0], strconv.Itoa(pid)}, command[1:]...)
	mapper, err := syscall.ForkExec(command[0], arguments, &syscall.ProcAttr{Files: []uintptr{0, 2, 2}})
	if err != nil {
		return func() error { return nil }, fmt.Errorf("start %s: %w", command[0], err)
	}
	return func() error {
		ws, err := await(mapper, 0)
		if err == nil && ws != 0 {
			err = errors.New("it has failed: are the ids in /etc/subuid and /etc/subgid yours?")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(arguments, " "), err)
		}
		return nil
	}, nil
}

// writeOwnMaps maps a single id. The kernel wants that nobody in there can leave a group, which may be one that is denied something.
func writeOwnMaps(pid int, uids, gids string) error {
	for _, f := range [][2]string{{"uid_map", uids}, {"setgroups", "deny"}, {"gid_map", gids}} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, f[0]), []byte(f[1]), 0); err != nil {
			return fmt.Errorf("give ids to a user namespace: %w", err)
		}
	}
	return nil
}

// Settings of the kernel that forbid user namespaces to users: of every kernel, of Debian's, of Ubuntu's.
const (
	maxUserNamespaces   = "/proc/sys/user/max_user_namespaces"
	unprivilegedClone   = "/proc/sys/kernel/unprivileged_userns_clone"
	appArmorRestriction = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
)

// checkUserNamespaces tells what does not let users have user namespaces.
func checkUserNamespaces() error {
	for _, s := range []struct{ file, forbids, name string }{
		{maxUserNamespaces, "0", "user.max_user_namespaces is 0"},
		{unprivilegedClone, "0", "kernel.unprivileged_userns_clone is 0"},
	} {
		if setting(s.file) == s.forbids {
			return fmt.Errorf("%w: %s: this machine lets users have no user namespaces; root changes that with sysctl, or gives a grant with `runtime grant`", ErrNoPrivilege, s.name)
		}
	}
	if setting(appArmorRestriction) == "1" && setting("/proc/self/attr/current") == "unconfined" {
		return fmt.Errorf("%w: kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor lets no program without a profile have capabilities in a user namespace; "+
			"root changes that with sysctl, or gives a grant with `runtime grant`", ErrNoPrivilege)
	}
	return nil
}

// setting reads a kernel setting, "" where there is none.
func setting(name string) string {
	data, _ := file.Read(name, 256)
	return strings.TrimSpace(string(data))
}

func explainUserNamespace(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: no more of them are allowed here, see user.max_user_namespaces in sysctl", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: this machine does not let you, for example in a container; root gives a grant with `runtime grant`", err)
	}
	return err
}

// Weaker tells what a container without a grant lacks, "" for one that lacks nothing.
func (p *Plan) Weaker() string {
	if !p.Own {
		return ""
	}
	text := "no grant, so in a user namespace of yours: without limits on what all processes use, private networks, and the policy's rules"
	if !realm.HasIDs() {
		text += "; all files look like yours, for you have no subordinate ids"
	}
	return text
}
