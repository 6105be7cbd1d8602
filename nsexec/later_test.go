package nsexec

import (
	"os"
	goruntime "runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAMessageIsWrittenLater(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	other, kept, err := os.Pipe() // the child must not keep others
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	if err := WriteLater(int(writer.Fd()), []byte("message")); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	kept.Close()
	var got [16]byte
	for _, r := range []*os.File{reader, other} {
		if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := reader.Read(got[:]); err != nil || string(got[:n]) != "message" {
		t.Errorf("%q, %v", got[:n], err)
	}
	if n, err := other.Read(got[:]); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := reader.Read(got[:]); n != 0 || err == nil || os.IsTimeout(err) { // the child has ended
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := WriteLater(-1, []byte("x")); err != nil { // it fails where nobody sees it
		t.Errorf("%v", err)
	}
	var ws unix.WaitStatus
	for range 2 {
		if _, err := unix.Wait4(-1, &ws, 0, nil); err != nil && err != unix.ECHILD {
			t.Error(err)
		}
	}
}
