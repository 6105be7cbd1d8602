package job

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// StartRelay connects a terminal of a container's with the user's: with standard input
// and output, or with /dev/tty while somebody has it open. The channel is told that the
// user typed the escape.
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
