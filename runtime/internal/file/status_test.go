package file

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestStatusOfAProcess(t *testing.T) {
	status, err := Status(os.Getpid())
	if err != nil || status["Pid"] != strconv.Itoa(os.Getpid()) || status["PPid"] != strconv.Itoa(os.Getppid()) || len(strings.Fields(status["Uid"])) != 4 {
		t.Errorf("%v, %v", status, err)
	}
	if _, err := Status(1 << 30); err == nil {
		t.Error("of no process")
	}
}
