// Package imageadmin makes a member of the policy's image group root, to change images,
// and tells which files of an image the policy's binds hide. Package main calls it.
package imageadmin

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
)

// passesToRoot are the environment variables that a member of the image group keeps,
// besides LC_*.
var passesToRoot = []string{"TERM", "LANG", "http_proxy", "https_proxy", "no_proxy"}

// ExecuteAsRoot executes the program again as root, with the same arguments and a clean
// environment, if the caller is in the policy's image group. In a rootless program it
// executes it as root of the user namespace. It returns only with an error, which wraps
// caller.ErrNotPermitted if the caller is not in the group.
func ExecuteAsRoot(h here.Here) error {
	if h.Rootless() {
		return executeAsRoot(h, h.Again()) // over what is the caller's
	}
	who, err := access.CurrentCaller()
	if err != nil {
		return err
	}
	if err := privilege.Check(); err != nil {
		return errors.Join(caller.ErrNotPermitted, err)
	}
	settings, err := access.Settings(h, who)
	if err != nil {
		return err
	}
	if settings.ImageGroup == "" {
		return fmt.Errorf("%w; a policy can name an image-group", caller.ErrNotPermitted)
	}
	database, err := user.Load(h)
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	gid, err := database.GroupByName(settings.ImageGroup)
	if err != nil {
		return fmt.Errorf("the policy's image-group: %w", err)
	}
	if who.GID != gid && !slices.Contains(who.Groups, gid) {
		return fmt.Errorf("%w, or members of the group %s", caller.ErrNotPermitted, settings.ImageGroup)
	}
	return executeAsRoot(h, access.TellRoot(who))
}

// executeAsRoot executes the program as root, with one entry added to the environment.
func executeAsRoot(h here.Here, entry string) error {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh"}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); slices.Contains(passesToRoot, name) || strings.HasPrefix(name, "LC_") {
			env = append(env, e)
		}
	}
	env = append(env, entry)
	if err := inherit.HandOn(); err != nil {
		return err
	}
	unix.Umask(0o022)
	// Only this thread becomes root. execve(2) ends the other threads.
	err := privilege.AsRoot(h, privilege.SetIDs, func() error {
		if err := nsexec.SetIDs(0, 0, []uint32{0}); err != nil {
			return err
		}
		return unix.Exec("/proc/self/exe", os.Args, env)
	})
	return fmt.Errorf("become root for images: %w", err)
}
