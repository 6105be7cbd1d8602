package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestAnImagesLinksLeadNowhereOutside(t *testing.T) {
	outside := t.TempDir()
	if err := os.Chmod(filepath.Dir(outside), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		what, script string
		err          string // "": the run succeeds
	}{
		{"an absolute link to a directory of the host", "rmdir opt; ln -s " + outside + " opt", "leads nowhere"},
		{"a chain upwards", "rmdir opt; ln -s ../../../../../.." + outside + " opt", "leads nowhere"},
		{"a link to a directory inside", "rmdir opt; ln -s ../../srv opt", ""},
		{"a link to the root directory", "rmdir opt; ln -s / opt", "leads to the root directory"},
		{"a link into /proc", "rmdir opt; ln -s proc/sys opt", "leads into a file system of the kernel's"},
		{"a link into /dev", "rmdir opt; ln -s dev/shm opt", "leads into /dev"},
		{"a loop", "rmdir opt; ln -s opt opt", "loop of symbolic links"},
		{"a file for a directory", "rmdir opt; touch opt", "the source is a directory, this is not"},
		{"a FIFO for a directory", "rmdir opt; mkfifo opt", "the source is a directory, this is not"},
		{"a directory for a file", "rm -f etc/hosts; mkdir etc/hosts", "the source is a file"},
		{"a link for a file, to a file of the host", "rm etc/passwd; ln -s " + outside + "/passwd etc/passwd", ""},
		{"a link for a file, to a shadow password", "rm etc/passwd; ln -s shadow etc/passwd", ""},
		{"no mount points at all", "rmdir opt home; rm -f etc/hosts etc/hostname etc/passwd", ""},
		{"/tmp is a link to /etc", "rm -rf tmp; ln -s /etc tmp", ""},
		{"/proc is a link to /etc", "rmdir proc; ln -s /etc proc", "this is not"},
		{"/dev is a link that leads nowhere", "rm -rf dev; ln -s nowhere dev", "this is not"},
		{"/sys is a file", "rmdir sys; touch sys", "this is not"},
		{"/bin/sh is a FIFO", "rm usr/bin/sh; mkfifo usr/bin/sh", ""},
		{"/bin/sh is a device", "rm usr/bin/sh; mknod usr/bin/sh c 1 8", ""},
		{"/bin/sh is no program", "echo text >usr/bin/sh.new; mv usr/bin/sh.new usr/bin/sh", ""},
	} {
		name := "launch-hostile-" + string(rune('a'+i))
		kit.Change(t, name, c.script)
		r := kit.Run(t, "run", "--chdir", "/", name, "/bin/true")
		switch {
		case c.err == "" && (r.Code != 0 || r.Err != ""):
			t.Errorf("%s: %+v", c.what, r)
		case c.err != "" && (r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, c.err)):
			t.Errorf("%s: %+v, want one line with %q", c.what, r, c.err)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Fatalf("%s: something was made on the host: %v, %v", c.what, entries, err)
		}
	}
	kit.NothingLeft(t)
}

func TestDevicesAndSetuidProgramsOfAnImageAreDead(t *testing.T) {
	kit.Change(t, "launch-old", "mknod -m 666 home/null c 1 3; mknod -m 666 null c 1 3; cp usr/bin/id usr/bin/rootid; chmod 4755 usr/bin/rootid")
	r := kit.Run(t, "run", "launch-old", "sh", "-c", "echo x >/null; rootid -u")
	_, uid, _ := kit.Lookup(t, kit.User)
	if out := strings.TrimSpace(r.Out); out == "0" || out == "" || !strings.Contains(r.Err, "ermission denied") {
		t.Errorf("uid %d gets %+v", uid, r)
	}
}

func TestTheShellIsTheUsersOrElseTheImages(t *testing.T) {
	kit.Change(t, "launch-nobash", "rm usr/bin/bash")
	for _, c := range []struct {
		args       []string
		input, out string
	}{
		{[]string{"shell", kit.Image}, "echo $0; shopt -q login_shell && echo login", "-bash\nlogin\n"},
		{[]string{"shell", "launch-nobash"}, "echo $0", "-sh\n"},
		{[]string{"shell", kit.Image, "--", "echo", "a  b", "$HOME"}, "", "a  b $HOME\n"},
		{[]string{"shell", "launch-nobash", "--", "echo", "a  b"}, "", "a  b\n"},
	} {
		cmd := kit.As(t, kit.User, append([]string{kit.Runtime}, c.args...)...)
		cmd.Stdin = strings.NewReader(c.input)
		if r := kit.Do(t, cmd); r.Out != c.out || r.Code != 0 {
			t.Errorf("%v: %+v, want %q", c.args, r, c.out)
		}
	}
	cmd := kit.As(t, kit.User, kit.NspawnRun, "-n", kit.Image)
	cmd.Stdin = strings.NewReader("echo $0; exit 4")
	if r := kit.Do(t, cmd); r.Out != "-bash\n" || r.Code != 4 || !strings.Contains(r.Err, "failed with error code 4.") {
		t.Errorf("nspawn-run without a command: %+v", r)
	}
}

// TestAUserWhomOnlyNSSKnows runs as somebody who is in no file of the host's, as with
// LDAP: in a mount namespace of its own, where NSS asks one more source.
func TestAUserWhomOnlyNSSKnows(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nsswitch.conf":     "passwd: files extrausers\ngroup: files extrausers\nshadow: files\nhosts: files dns\n",
		"extrausers/passwd": "ldapuser:x:54321:54321:From Afar:/home/ldapuser:/bin/sh\n",
		"extrausers/group":  "ldapgroup:x:54321:\nldapmore:x:54322:ldapuser\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := "mount --bind " + dir + "/nsswitch.conf /etc/nsswitch.conf && mount --bind " + dir + "/extrausers /var/lib/extrausers && " +
		"cd / && exec env -i setpriv --reuid 54321 --regid 54321 --groups 54321,54322 " + kit.Runtime + " run " + kit.Image +
		` sh -c 'id; echo $HOME; grep -c ldap /etc/passwd /etc/group; grep -cE " /etc/(passwd|group) ro" /proc/self/mountinfo'`
	r := kit.Do(t, exec.Command("unshare", "--mount", "sh", "-ec", script))
	want := "uid=54321(ldapuser) gid=54321(ldapgroup) groups=54321(ldapgroup),54322(ldapmore)\n/tmp\n/etc/passwd:1\n/etc/group:2\n2\n"
	if r.Out != want {
		t.Errorf("%+v, want %q", r, want)
	}
	if data := readFile(t, "/etc/passwd"); strings.Contains(data, "ldapuser") {
		t.Error("the host's /etc/passwd was changed")
	}
	kit.NothingLeft(t)
}

func TestACallerWithoutAName(t *testing.T) {
	script := "cd / && exec setpriv --reuid 54999 --regid 54999 --clear-groups " + kit.Runtime + " run " + kit.Image + " id"
	r := kit.Do(t, exec.Command("sh", "-ec", script))
	if !strings.HasPrefix(r.Out, "uid=54999(user54999) gid=54999") {
		t.Errorf("%+v", r)
	}
}
