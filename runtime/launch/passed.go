package launch

import (
	"slices"
	"strconv"

	"mayfly/runtime/plan"
)

// listenPID says which process the sockets are for: the command, by its number inside.
// Every attempt to start the command takes the next one.
func (l *Launch) listenPID(p *plan.Plan) []string {
	l.attempts++
	if !p.ListenPID {
		return p.Spec.Process.Env
	}
	return append(slices.Clip(p.Spec.Process.Env), "LISTEN_PID="+strconv.Itoa(l.Init.FirstPID()+l.attempts-1))
}
