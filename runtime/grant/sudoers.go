package grant

import "fmt"

// Sudoers returns the line of sudoers(5) that lets users call the binary through
// sudo(8). They cannot leave out the first argument, as-caller: with it the program
// becomes a process of the calling user before it does anything else. sudo names the
// user in the environment, which the user must not set (NOSETENV). group is a name, or
// "" for all users.
func Sudoers(path, group string) string {
	who := "ALL"
	if group != "" {
		who = "%" + group
	}
	return fmt.Sprintf("%s ALL=(root) NOPASSWD: NOSETENV: %s as-caller *\n", who, path)
}
