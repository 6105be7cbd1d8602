package supervisor

import (
	"syscall"

	"mayfly/nsexec"
	"mayfly/runtime/job"
)

// suspend stops this process after its command has been stopped. When this process is
// continued it continues the command. With job all of its process group stops: a script
// that waits for it, the rest of the pipeline.
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

// resume continues the command when this process has got SIGCONT. After suspend the
// command runs already; its SIGCONT may come late, when the job is to stop again, so
// one is ignored (job.Control.Resumed).
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

// stopJob stops the command and this process after SIGTSTP. The other processes of the
// job have got the same signal.
func (s *supervisor) stopJob() {
	_ = s.Process.SignalGroup(syscall.SIGSTOP)
	s.suspend(false)
}

// followCommand stops the job when the command on the container's terminal has stopped,
// as by a shell's `suspend`: otherwise nobody could get at the user's terminal. A
// command that was stopped by a request (job.Control.Parked) is continued by a request,
// for which this process has to listen.
func (s *supervisor) followCommand() {
	if !s.jobs.Parked.Load() && job.IsStopped(s.Process.PID) {
		s.suspend(true)
	}
}
