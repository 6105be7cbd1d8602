package launch

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/control"
	"mayfly/runtime/plan"
	"mayfly/runtime/rootfs"
)

// Whatever a client says, another user's command asks nobody on /dev/tty.
func TestAnotherUsersCommandGetsNoTerminalToAskOn(t *testing.T) {
	over := make(chan struct{})
	close(over)
	for _, c := range []struct {
		setIDs, tty bool
		want        error
	}{{true, true, unix.EINVAL}, {true, false, errEnding}, {false, true, errEnding}} {
		l := &Launch{Builder: rootfs.Builder{Plan: &plan.Plan{SetIDs: c.setIDs}}, Over: over}
		if _, _, err := l.Ask(control.Exec{Args: []string{"true"}, TTY: c.tty}, []int{0, 1, 2}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
