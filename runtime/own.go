package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/policy"
)

// Without a grant the program runs in a user namespace of the caller's own, with a copy of the host's mounts. There it is
// permitted what a grant permits, over nothing but what is the caller's: see package realm. A process with several threads, as every
// Go program is, cannot enter one; so it is made by the program's entry point, before the Go runtime starts.

// A Birth is what the entry point has done.
type Birth struct {
	Tried    bool  // to make a user namespace
	Err      error // why there is none
	UID, GID uint32
	Mappers  []Mapper // of users, and of groups: both, where there is no error
	Block    []byte   // what they read: it is at the same place in their memory
	Opened   []int    // descriptors, which are no caller's
}

// A Mapper is a child outside of the user namespace. It executes the ArgumentBlock that is written to its line.
type Mapper struct{ PID, Line int }

var born Birth

// Arrive is called first of all.
func Arrive(b Birth) error {
	born = b
	if err := findInherited(b.Opened); err != nil {
		return err
	}
	return realm.Arrive()
}

// errForbidden is the policy's word, which binds nobody but us.
var errForbidden = errors.New("the policy wants no containers without a grant (unprivileged = false)")

// EnterOwn completes the user namespace that the entry point has made, if it has: with ids, and with a directory of the
// caller's. asRoot makes the program root there where the caller has no ids but their own.
func EnterOwn(asRoot bool) error {
	if !born.Tried || realm.Own() {
		return nil
	}
	if born.Err == nil && !policy.Unprivileged() {
		born.Err = errForbidden
	}
	if born.Err != nil {
		return born.dismiss()
	}
	who, err := born.mapIDs(asRoot)
	if err != nil {
		return err
	}
	directory, err := ownDirectory(who)
	if err != nil {
		return err
	}
	return realm.Settle(directory, uint32(os.Getuid()), uint32(os.Getgid()))
}

// WantsOwn tells whether the program is to be executed again, to be in a user namespace: where the caller asks for it, or has no grant
// at all.
func WantsOwn(asked bool) (bool, error) {
	uid := os.Getuid()
	switch {
	case realm.Own():
		return false, nil
	case asked && uid == 0:
		return false, errors.New("--unprivileged is for others than root, who needs no grant")
	case uid == 0:
		return false, nil
	case born.Tried:
		return false, explainUserNamespace(born.Err)
	}
	have, err := nsexec.CurrentCapabilities()
	switch {
	case err != nil || have.Permitted != 0 && !asked: // a grant that lacks something is to be mended
		return false, err
	case !policy.Unprivileged():
		return false, fmt.Errorf("%w: %w", ErrNoPrivilege, errForbidden)
	}
	return true, nil
}

// ExecuteInOwn executes the program again, without any privilege, to be in a user namespace. It returns only with an error.
// limits gives the caller's soft limits back, as the program is to find them.
func ExecuteInOwn(limits func()) error {
	if os.Getenv(realm.Variable) != "" {
		return errors.New("this program makes no user namespaces: it was not built with make")
	}
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	if err := Renounce(); err != nil {
		return err
	}
	path := "/proc/self/exe"
	if have.Permitted != 0 { // which the file would grant again
		if path, err = copyOfProgram(); err != nil {
			return err
		}
	}
	if err := handOn(); err != nil {
		return err
	}
	limits()
	err = unix.Exec(path, os.Args, append(os.Environ(), realm.Enter()))
	return fmt.Errorf("execute runtime again: %w", err)
}

// copyOfProgram makes a copy of the program, in memory, that grants nothing.
func copyOfProgram() (path string, err error) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer program.Close()
	fd, err := unix.MemfdCreate("runtime", unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := io.Copy(os.NewFile(uintptr(fd), "runtime"), program); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}

// Settings of the kernel that forbid user namespaces to users: of every kernel, of Debian's, of Ubuntu's.
const (
	maxUserNamespaces   = "/proc/sys/user/max_user_namespaces"
	unprivilegedClone   = "/proc/sys/kernel/unprivileged_userns_clone"
	appArmorRestriction = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
)

// explainUserNamespace says why there is no user namespace, and what to do.
func explainUserNamespace(err error) error {
	why := userNamespacesOff()
	switch {
	case errors.Is(err, errForbidden):
		return fmt.Errorf("%w: %w: root gives a grant with `runtime grant`", ErrNoPrivilege, err)
	case why != nil:
	case errors.Is(err, unix.ENOSPC), errors.Is(err, syscall.EUSERS):
		why = errors.New("there are as many as user.max_user_namespaces allows")
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.EAGAIN):
		why = errors.New("a limit is in the way, see `ulimit -a`")
	default:
		why = errors.New("this machine does not let you, as it is in many containers")
	}
	return fmt.Errorf("%w, and no user namespace (%w): %w; root gives a grant with `runtime grant`", ErrNoPrivilege, err, why)
}

// userNamespacesOff tells which setting of the kernel lets users have no user namespaces.
func userNamespacesOff() error {
	switch {
	case setting(maxUserNamespaces) == "0":
		return errors.New("user.max_user_namespaces is 0 in sysctl")
	case setting(unprivilegedClone) == "0":
		return errors.New("kernel.unprivileged_userns_clone is 0 in sysctl")
	case setting(appArmorRestriction) == "1":
		return errors.New("kernel.apparmor_restrict_unprivileged_userns is 1 in sysctl, and AppArmor has no profile for this program")
	}
	return nil
}

// setting reads a kernel setting, "" where there is none.
func setting(name string) string {
	data, _ := file.Read(name, 256)
	return strings.TrimSpace(string(data))
}

// Weaker tells what a container without a grant lacks, "" for one that lacks nothing.
func (p *Plan) Weaker() string {
	if !p.Own {
		return ""
	}
	why := "no grant"
	if ignored := realm.GrantIgnored(); ignored != nil {
		why = ignored.Error()
	}
	text := why + ", so in a user namespace of yours: without limits on what all processes use, private networks, and the policy's rules"
	if !realm.HasIDs() {
		text += "; all files look like yours, for you have no subordinate ids"
	}
	return text
}
