package privilege

import (
	"errors"
	"strings"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// DumpableFile is a kernel setting: which value the dumpable flag of a process gets
// when a thread changes its ids (proc_sys_fs(5)).
const DumpableFile = "/proc/sys/fs/suid_dumpable"

// hideMemory closes the process to ptrace(2) of everybody without CAP_SYS_PTRACE: of
// the caller, and of the container, whose PID 1 shares the memory. Under the kernel's
// debugging mode fs.suid_dumpable=1 the next change of ids would open it again, so that
// is an error.
func hideMemory() error {
	setting, err := file.Read(DumpableFile, 16)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(setting)) == "1" {
		return errors.New("fs.suid_dumpable is 1, which opens privileged programs to their callers: set it to 0 or 2 with sysctl")
	}
	return nsexec.Undumpable()
}
