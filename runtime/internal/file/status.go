package file

import (
	"strconv"
	"strings"
)

// maxStatus bounds what is read of a process, in bytes.
const maxStatus = 64 << 10

// Status reads what the kernel says of a process, by name (proc_pid_status(5)), each
// value without the blanks around it.
func Status(pid int) (map[string]string, error) {
	text, err := Read("/proc/"+strconv.Itoa(pid)+"/status", maxStatus)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}
