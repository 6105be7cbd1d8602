package attack

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// children lists the processes whose parent a process is.
func children(t *testing.T, pid int) []string {
	t.Helper()
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	kit.Must(t, err)
	var found []string
	for _, name := range list {
		text, _ := os.ReadFile(name) // of a thread that has just ended: nothing
		found = append(found, strings.Fields(string(text))...)
	}
	return found
}

// field is a line of a process's status, without its name.
func field(status, name string) string {
	_, rest, _ := strings.Cut(status, "\n"+name+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}

// waiting starts an import that waits for the rest of a compressed archive, and finds
// its decompressor.
func waiting(t *testing.T, store, name string) (pid string) {
	t.Helper()
	cmd := exec.Command(kit.Runtime, "image", "import", "--store", store, name, "-")
	in, err := cmd.StdinPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	_, err = io.WriteString(in, string(compressed(t, tarOf(t, file("f", strings.Repeat("x", 100_000)))))[:40])
	kit.Must(t, err)
	kit.Eventually(t, "the archive is being decompressed", func() bool {
		for _, pid = range children(t, cmd.Process.Pid) {
			if program, _ := os.Readlink("/proc/" + pid + "/exe"); filepath.Base(program) == "gzip" {
				return true
			}
		}
		return false
	})
	return pid
}

// What decompresses an archive may be taken over by it. Then it is nobody: it reaches
// no process, no network, no terminal.
func TestM14Decompressors(t *testing.T) {
	store := overlayStore(t)
	one, two := waiting(t, store, "one"), waiting(t, store, "two")
	uids := map[string]bool{}
	for _, pid := range []string{one, two} {
		data, err := os.ReadFile("/proc/" + pid + "/status")
		kit.Must(t, err)
		status := string(data)
		for name, want := range map[string]string{"NoNewPrivs": "1", "CapBnd": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "Groups": ""} {
			if got := field(status, name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		uid, gid := strings.Fields(field(status, "Uid")), strings.Fields(field(status, "Gid"))
		if n, err := strconv.Atoi(uid[0]); err != nil || n < 2_100_000_000 || uid[0] != uid[2] || gid[0] != uid[0] {
			t.Errorf("its ids are %v, %v", uid, gid)
		}
		uids[uid[0]] = true
		for _, kind := range []string{"pid", "net", "ipc"} {
			theirs, err := os.Readlink("/proc/" + pid + "/ns/" + kind)
			ours, _ := os.Readlink("/proc/self/ns/" + kind)
			if err != nil || theirs == ours {
				t.Errorf("%s namespace %s, %v: the host's", kind, theirs, err)
			}
		}
		limits, err := os.ReadFile("/proc/" + pid + "/limits")
		kit.Must(t, err)
		for _, name := range []string{"Max address space", "Max cpu time", "Max file size"} {
			_, line, _ := strings.Cut(string(limits), name)
			if line, _, _ = strings.Cut(line, "\n"); line == "" || strings.Contains(line, "unlimited") {
				t.Errorf("%s: %q", name, line)
			}
		}
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		kit.Must(t, err)
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); f[3] != pid || f[4] != "0" { // session, terminal
			t.Errorf("it is in session %s with terminal %s", f[3], f[4])
		}
	}
	if len(uids) != 2 {
		t.Errorf("two archives' programs are one user: %v", uids)
	}
}

// getent asks sources that may be anybody's, and runs as nobody who could make it say
// something else. It is asked for the name of a group that the files do not know; by
// way of sudo a caller has none.
func TestM14Getent(t *testing.T) {
	for _, w := range ways {
		capabilities := ""
		switch w.name {
		case "sudo":
			continue
		case "ambient":
			capabilities = strings.ReplaceAll("--inh-caps=LIST --ambient-caps=LIST", "LIST", "+sys_admin,+setuid,+setgid,+setpcap,+chown,+dac_override,+fowner,+fsetid")
		}
		t.Run(w.name, func(t *testing.T) {
			top := directory(t, "/var/tmp", kit.User)
			kit.Must(t, os.Chmod(top, 0o755))
			told, fake := filepath.Join(top, "told"), filepath.Join(top, "getent")
			write(t, told, "")
			kit.Must(t, os.Chmod(told, 0o666))
			write(t, fake, "#!/bin/sh\ncat /proc/self/status >>"+told+"\nexit 2\n")
			kit.Must(t, os.Chmod(fake, 0o755))
			script := `mount --bind "$0" /usr/bin/getent; exec setpriv --reuid ` + kit.User + ` --regid 424242 --clear-groups ` + capabilities + ` -- "$@"`
			args := append([]string{"--mount", "sh", "-ec", script, fake}, w.args("run", kit.Image, "true")...)
			cmd := exec.Command("unshare", args...)
			cmd.Dir = "/"
			if r := kit.Do(t, cmd); r.Code != 0 {
				t.Errorf("%+v", r)
			}
			data, err := os.ReadFile(told)
			status := string(data)
			if err != nil || field(status, "NoNewPrivs") != "1" || field(status, "CapBnd") != "0000000000000000" || !strings.HasPrefix(field(status, "Uid"), "2100") {
				t.Errorf("%s, %v", status, err)
			}
			kit.NothingLeft(t)
		})
	}
}
