package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"mayfly/nsexec"
	"mayfly/runtime/supervisor"
)

// listen starts to receive supervisor.Signals, except those in butFor, until the
// process ends. If SIGHUP is ignored, as nohup(1) wants, it stays ignored, here and in
// the command.
func listen(butFor ...os.Signal) (<-chan os.Signal, error) {
	wanted := slices.DeleteFunc(slices.Clone(supervisor.Signals), func(s os.Signal) bool {
		return s == syscall.SIGHUP && signal.Ignored(s) || slices.Contains(butFor, s)
	})
	// At the limit on file size the write fails; without a handler SIGXFSZ would end
	// the process.
	pipe, err := nsexec.CatchSignals(append(wanted, syscall.SIGXFSZ))
	if err != nil {
		return nil, err
	}
	c := make(chan os.Signal, 16)
	go func() {
		var got [16]byte
		for {
			n, err := pipe.Read(got[:])
			if err != nil {
				return
			}
			for _, number := range got[:n] {
				if s := syscall.Signal(number); s != syscall.SIGXFSZ {
					c <- s
				}
			}
		}
	}()
	return c, nil
}
