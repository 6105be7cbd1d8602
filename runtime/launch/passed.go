package launch

import (
	"slices"
	"strconv"

	"mayfly/runtime/plan"
)

// listenPID returns the command's environment, with LISTEN_PID where systemd's sockets
// are passed (sd_listen_fds(3)). It is the command's number in the container's PID
// namespace. Each clone takes the next number, so it must be called once for each
// attempt to start a command.
func (l *Launch) listenPID(p *plan.Plan) []string {
	l.attempts++
	if !p.ListenPID {
		return p.Spec.Process.Env
	}
	return append(slices.Clip(p.Spec.Process.Env), "LISTEN_PID="+strconv.Itoa(l.Init.FirstPID()+l.attempts-1))
}
