package supervisor

import (
	"syscall"

	"mayfly/nsexec"
	"mayfly/runtime/job"
)

// suspend stops this process, whose command has been stopped, and has both go on
// together. With job, all of its process group stops: a script that waits for it, the
// rest of the pipeline.
func (s *supervisor) suspend(job bool) {
	if s.relay != nil {
		s.relay.Leave()
	}
	if err := nsexec.Suspend(job); err != nil {
		s.Note(err.Error())
	}
	s.jobs.Resumed = true
	_ = s.Process.SignalGroup(syscall.SIGCONT)
	if s.relay != nil {
		s.relay.Continue()
	}
}

// resume has all of the job go on, when this process does. After suspend all of it does
// already, and the signal that tells of it may come late, when the job is to stop
// again.
func (s *supervisor) resume() {
	if s.jobs.Resumed {
		s.jobs.Resumed = false
		return
	}
	if s.relay != nil {
		s.relay.Continue()
	}
	_ = s.Process.SignalGroup(syscall.SIGCONT)
}

// stopJob follows a signal that stops the job, which others of it have got, too.
func (s *supervisor) stopJob() {
	_ = s.Process.SignalGroup(syscall.SIGSTOP)
	s.suspend(false)
}

// followCommand follows a command on a terminal that has been stopped, as a shell's
// `suspend` does: else nobody could get at the user's terminal. One that was stopped by
// way of our socket goes on the same way, and we have to listen for that.
func (s *supervisor) followCommand() {
	if !s.jobs.Parked.Load() && job.IsStopped(s.Process.PID) {
		s.suspend(true)
	}
}
