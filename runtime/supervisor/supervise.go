package supervisor

import (
	"context"
	"errors"
	"syscall"

	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/job"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// collectAtMost bounds how many leftover snapshots a launch looks at.
const collectAtMost = 64

// supervise waits for the steps of the launch and then for the command. Meanwhile
// signals are passed on, requests and published ports are served, and leftovers of
// earlier containers are removed.
func (s *supervisor) supervise(ctx context.Context) (status.Status, error) {
	ended, late, err := s.awaitStart(ctx)
	if ended || err != nil {
		return late, err
	}
	kill, err := s.connectTerminals()
	if err != nil {
		_ = s.Process.Signal(syscall.SIGKILL)
		_, _ = s.Process.Wait()
		return status.Status{}, err
	}
	if s.relay != nil || s.Output != nil || s.Feed != nil {
		nsexec.Processors(nsexec.ForCopying)
	}
	a := &signals{supervisor: s, kill: kill, ended: make(chan struct{}), done: make(chan struct{}), timedOut: late.TimedOut}
	// The signal came during the last step.
	if missed := s.Interrupt.Load(); missed != 0 && !a.timedOut {
		a.handle(syscall.Signal(missed))
	}
	if s.relay != nil {
		s.Process.Stopped = func() { job.Offer(s.jobs.Stops, struct{}{}) }
	}
	go a.attend(ctx)
	if s.Opened != nil {
		nsexec.Processors(nsexec.ForCopying)
		s.Opened.Start()
	}

	if err := privilege.AsRoot(s.Here, privilege.None, s.serve); err != nil {
		s.Note(err.Error())
	}
	if s.Lease != nil {
		s.ports.Serve(s.Lease.Address)
	}
	s.collectInPassing(ctx)
	ws, err := s.Process.Wait()
	if s.Opened != nil {
		s.Unwatched()
	}
	close(a.ended)
	<-a.done
	status := status.Status{End: status.EndOf(ws)}
	status.TimedOut, status.Flooded = a.timedOut, s.Output.Exceeded()
	return status, err
}

// collectInPassing removes what dead supervisors of the same owner have left, while the
// command runs and the thread has nothing else to do. It is bounded, to be back when
// the command ends, and waits for no lock. Leftovers of other owners are for `gc` as
// root.
func (s *supervisor) collectInPassing(ctx context.Context) {
	_ = privilege.AsRoot(s.Here, access.StoreCapabilities(s.store), func() error {
		used := s.image.Used()
		dead, swept := s.root.record.Sweep()
		if copy := s.root.snapshot; !dead && (copy == nil || copy.Alone) {
			return errors.Join(used, swept)
		}
		uid := s.Plan.Owner.UID
		_, err := s.store.Collect(ctx, int64(uid), collectAtMost)
		_, grouped := cgroup.CollectOf(uid, func(owner uint32, name string) bool { return state.IsAlive(s.Here, owner, name) })
		return errors.Join(used, swept, err, grouped)
	})
}

// connectTerminals connects the user's terminal with the container's, where there is
// one. The channel fires when the user has typed the escape.
func (s *supervisor) connectTerminals() (<-chan struct{}, error) {
	if s.Console == nil {
		return nil, nil
	}
	kill := make(chan struct{}, 1)
	if s.Output != nil {
		s.Console.Pass = s.Output.Pass
	}
	s.Console.Suspend = func() { s.jobs.KeyTyped(s.Console) }
	var err error
	s.relay, err = job.StartRelay(s.Console, s.Plan.TTY, kill)
	return kill, err
}
