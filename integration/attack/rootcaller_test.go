package attack

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// Where root inside is the caller on the host, it has power over no more files, and the
// caller, outside and with the same id, no more power over it than over a command of
// theirs.
func TestI18RootWhoIsTheCaller(t *testing.T) {
	rule(t, kit.AllModes)
	w, dir, other := ways[0], home(t, kit.User), home(t, kit.Other)
	own, _, _ := kit.Lookup(t, kit.User)
	asCaller := []string{"--root-as", "caller", "--writable"}
	write(t, filepath.Join(dir, "secret"), "secret")
	kit.Must(t, errors.Join(os.Chmod(filepath.Join(dir, "secret"), 0o600), os.Chmod(other, 0o700), os.Chmod(dir, 0o755), os.Chmod("/home/"+kit.User, 0o755)))
	for _, script := range []string{"cat " + dir + "/secret", "chown root " + dir + "/secret", "chmod 666 " + dir + "/secret", "ls " + other, "chown root " + other,
		"touch /home/x", "ls -l /proc/1/root/", "kill -9 1", "mknod " + dir + "/sda b 8 0", "setfattr -n trusted.x -v 1 " + dir,
		"mount -t tmpfs x /mnt", "unshare -U true", "setpriv --reuid 70000 true"} {
		if r := w.inside(t, script, asCaller...); r.Code == 0 {
			t.Errorf("%s: %+v", script, r)
		}
	}
	kit.Must(t, exec.Command("cp", "/usr/bin/id", dir+"/hosts").Run())
	if r := w.inside(t, "cp "+dir+"/hosts "+dir+"/id; chmod 6755 "+dir+"/id", asCaller...); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := kit.Do(t, kit.As(t, kit.Other, dir+"/id", "-u")); r.Out != own.Uid+"\n" {
		t.Errorf("a setuid program made inside: %+v, want the caller's, as they make one themself", r)
	}

	cmd := w.cmd(t, "run", "--quiet", "--root-as", "caller", "--name", "i18-caller", kit.Image, "sleep", "629")
	kit.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer kit.Run(t, "kill", "--signal", "KILL", "i18-caller")
	var pid string
	kit.Eventually(t, "it sleeps", func() bool {
		out, err := exec.Command("pgrep", "-f", "^sleep 629").Output()
		pid = strings.TrimSpace(string(out))
		return err == nil
	})
	proc := "/proc/" + pid
	for _, args := range [][]string{{"nsenter", "-t", pid, "-U", "true"}, {"nsenter", "-t", pid, "-m", "true"}, {"ls", proc + "/root/"}, {"cat", proc + "/environ"},
		{"readlink", proc + "/exe"}, {"readlink", proc + "/fd/0"}, {"head", "-c0", proc + "/fd/0"}, {"cat", proc + "/maps"}, {"dd", "if=" + proc + "/mem", "count=1"}, {"readlink", proc + "/ns/mnt"},
		{"timeout", "5", "strace", "-p", pid}} {
		if r := kit.Do(t, kit.As(t, kit.User, args...)); r.Code == 0 || r.Code == 124 {
			t.Errorf("%q outside: %+v", args, r)
		}
	}
	// Stopped by the caller, it ends all the same.
	if r := kit.Do(t, kit.As(t, kit.User, "kill", "-STOP", pid)); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "kill", "--signal", "KILL", "i18-caller"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	<-ended
	kit.NothingLeft(t)
}
