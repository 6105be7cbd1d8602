package job

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// StartRelay connects a container's terminal with the user's: with standard input and
// output, or with onDemand with /dev/tty while a process inside has its terminal open.
// kill is told when the user types the escape. The caller must Stop the Relay.
func StartRelay(c *console.Console, onDemand bool, kill chan<- struct{}) (*console.Relay, error) {
	told := func() { Offer(kill, struct{}{}) }
	if !onDemand {
		return c.Start(0, 1, told)
	}
	fd, err := console.OpenOwn()
	if err != nil {
		return nil, fmt.Errorf("open /dev/tty: %w", err)
	}
	relay, err := c.StartOnDemand(fd, told)
	if err != nil {
		unix.Close(fd)
	}
	return relay, err
}
