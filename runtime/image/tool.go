package image

import (
	"fmt"
	"os/exec"
	"strings"
)

// tool runs a program of the system. If it fails, the error contains its output.
func tool(name, pkg string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is not installed: apt-get install %s", name, pkg)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
