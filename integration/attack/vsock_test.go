package attack

import (
	"os/exec"
	"path/filepath"
	"testing"

	"mayfly/integration/kit"
)

// AF_VSOCK has no network namespace: where a container has a network of its own, no
// convention makes such a socket. In an image of 32-bit x86 socketcall(2) does, whose
// arguments no filter sees, and whose programs have no other way to any socket.
func TestI19Vsock(t *testing.T) {
	program := filepath.Join(dir, "vsock")
	if out, err := exec.Command("gcc", "-O1", "-static", "-no-pie", "-o", program, "vsock/vsock.c").CombinedOutput(); err != nil {
		t.Fatalf("compile: %v: %s", err, out)
	}
	said, err := exec.Command(program).Output()
	kit.Must(t, err)
	unfiltered := string(said)
	kit.Change(t, "attack-native", "cp "+program+" bin/vsock && ln -sf vsock bin/sh")
	for _, w := range ways[:3] { // a service's capabilities are the same as a file's, and this one's lack CAP_NET_ADMIN
		t.Run(w.name, func(t *testing.T) {
			t.Cleanup(func() { kit.Must(t, w.setUp()) })
			rule(t, kit.AllModes)
			kit.Must(t, w.setUp())
			for mode, want := range map[string]string{"host": unfiltered, "none": "1 1 38\n", "private": "1 1 38\n"} {
				if r := w.run(t, "run", "--chdir", "/", "--network", mode, "attack-native", "/bin/vsock"); r.Out != want {
					t.Errorf("--network %s: %+v, want %q", mode, r, want)
				}
			}
			if r := w.run(t, "run", "--chdir", "/", "--network", "none", kit.I386, "perl", "-e", `$! = 0; syscall(359, 40, 1, 0); print $! + 0, "\n"; socket(S, 2, 1, 0) or die "inet: $!"`); r.Out != "1\n" || r.Code != 0 {
				t.Errorf("32-bit: %+v", r)
			}
		})
	}
	kit.NothingLeft(t)
}
