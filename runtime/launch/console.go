package launch

import (
	"strconv"

	"mayfly/runtime/console"
)

// openConsole makes the container's terminal, from its own devpts.
func (l *Launch) openConsole() error {
	if !l.Plan.Spec.Process.Terminal && !l.Plan.TTY {
		return nil
	}
	terminal, err := console.Open(l.Scratch.Own["/dev/pts"].FD())
	if err != nil {
		return err
	}
	l.Console = terminal
	// Before the command can ask for it. A terminal without a size is one all the same.
	for fd := 0; fd <= 2 && terminal.Resize(fd) != nil; fd++ {
	}
	if l.Plan.TTY {
		return nil
	}
	number, err := terminal.Number()
	if err != nil {
		return err
	}
	return l.ScratchInRoot().CloneOnto("/dev/pts/"+strconv.Itoa(number), "/dev/console")
}

// slaveOf is the descriptor of a terminal for a command; 0: there is none.
func slaveOf(terminal *console.Console) int {
	if terminal == nil {
		return 0
	}
	return terminal.Slave()
}
