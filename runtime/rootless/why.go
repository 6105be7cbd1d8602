package rootless

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/privilege"
)

// Kernel settings that forbid users to make user namespaces: of every kernel, of
// Debian's, of Ubuntu's.
const (
	maxUserNamespaces   = "/proc/sys/user/max_user_namespaces"
	unprivilegedClone   = "/proc/sys/kernel/unprivileged_userns_clone"
	AppArmorRestriction = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
)

// explainUserNamespace explains why there is no user namespace, and what to do. err is
// that of the entry point, or errForbidden.
func explainUserNamespace(err error) error {
	why := UserNamespacesOff()
	switch {
	case errors.Is(err, errForbidden):
		return fmt.Errorf("%w: %w: root gives a grant with `runtime grant`", privilege.ErrNoPrivilege, err)
	case why != nil:
	case errors.Is(err, unix.ENOSPC), errors.Is(err, syscall.EUSERS):
		why = errors.New("there are as many as user.max_user_namespaces allows")
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.EAGAIN):
		why = errors.New("a limit is in the way, see `ulimit -a`")
	default:
		why = errors.New("this machine does not let you, as it is in many containers")
	}
	return fmt.Errorf("%w, and no user namespace (%w): %w; root gives a grant with `runtime grant`", privilege.ErrNoPrivilege, err, why)
}

// UserNamespacesOff returns an error that names the kernel setting by which users may
// make no user namespaces; nil: none does.
func UserNamespacesOff() error {
	switch {
	case Setting(maxUserNamespaces) == "0":
		return errors.New("user.max_user_namespaces is 0 in sysctl")
	case Setting(unprivilegedClone) == "0":
		return errors.New("kernel.unprivileged_userns_clone is 0 in sysctl")
	case Setting(AppArmorRestriction) == "1":
		return errors.New("kernel.apparmor_restrict_unprivileged_userns is 1 in sysctl, and AppArmor has no profile for this program")
	}
	return nil
}

// Setting reads a kernel setting, without white space around it; "" where there is
// none.
func Setting(name string) string {
	data, _ := file.Read(name, 256)
	return strings.TrimSpace(string(data))
}
