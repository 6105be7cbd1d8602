package grant

import "fmt"

// Sudoers is what lets users call the binary through sudo(8): with a first argument that
// they cannot leave out, by which it becomes a process of theirs before it does anything.
// Whose, sudo says in the environment: that they must not set (NOSETENV). group is a name, or "" for everybody.
func Sudoers(path, group string) string {
	who := "ALL"
	if group != "" {
		who = "%" + group
	}
	return fmt.Sprintf("%s ALL=(root) NOPASSWD: NOSETENV: %s as-caller *\n", who, path)
}
