package rootless

import (
	"errors"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestACopyOfTheProgramIsTheProgram(t *testing.T) {
	path, err := copyOfProgram()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the collector may run at any moment until the program is executed
		goruntime.GC()
		time.Sleep(time.Millisecond)
	}
	fd, err := strconv.Atoi(filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var here, copied unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/exe", &here), unix.Stat(path, &copied)); err != nil || here.Size != copied.Size || here.Ino == copied.Ino {
		t.Errorf("%d bytes of %d, %v", copied.Size, here.Size, err)
	}
	if n, err := unix.Getxattr(path, "security.capability", nil); err == nil {
		t.Errorf("it has %d bytes of capabilities", n)
	}
	out, err := exec.Command(path, "-test.list=^TestACopyOfTheProgramIsTheProgram$").Output()
	if err != nil || !strings.HasPrefix(string(out), "TestACopyOfTheProgramIsTheProgram\n") {
		t.Errorf("%q, %v", out, err)
	}
}
