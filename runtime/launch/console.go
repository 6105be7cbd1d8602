package launch

import (
	"mayfly/runtime/console"
)

// openConsole opens a terminal in the container's own devpts. Unless the plan wants it
// as /dev/tty only, it is bound onto /dev/console.
func (l *Launch) openConsole() error {
	terminal, err := console.Open(l.Scratch.Own["/dev/pts"].FD())
	if err != nil {
		return err
	}
	l.Console = terminal
	// The size is set before the command can ask for it. Without a terminal on 0, 1 or
	// 2 it stays 0 by 0, which is no error.
	for fd := 0; fd <= 2 && terminal.Resize(fd) != nil; fd++ {
	}
	if l.Plan.TTY {
		return nil
	}
	number, err := terminal.Number()
	if err != nil {
		return err
	}
	return l.BindTerminal(number)
}

// slaveOf returns the slave's descriptor, owned by the Console; 0: there is no
// terminal.
func slaveOf(terminal *console.Console) int {
	if terminal == nil {
		return 0
	}
	return terminal.Slave()
}
