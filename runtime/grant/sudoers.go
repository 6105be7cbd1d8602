package grant

import "fmt"

// Sudoers is what lets users call the binary through sudo(8): with a first argument that
// they cannot leave out, by which it becomes a process of theirs before it does anything.
// group is a name, or "" for everybody.
func Sudoers(path, group string) string {
	who := "ALL"
	if group != "" {
		who = "%" + group
	}
	return fmt.Sprintf("%s ALL=(root) NOPASSWD: %s as-caller *\n", who, path)
}
