package reports

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// imported imports a changed copy of the image under a name, as a version.
func imported(t *testing.T, name, script string) {
	t.Helper()
	kit.Change(t, name+"-plain", script)
	if r := kit.Root(t, "image", "import", name, filepath.Join(kit.Store, name+"-plain")); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	t.Cleanup(func() {
		if r := kit.Root(t, "image", "remove", name); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
}

const ostree = `mkdir -p sysroot; rm -rf root srv; ln -s var/roothome root; ln -s var/srv srv; for d in home opt; do rmdir $d && ln -s var/$d $d; done
rmdir tmp && ln -s sysroot/tmp tmp; rm -rf run && ln -s /var/run-of run; rm -rf var/tmp && ln -s ../sysroot/vartmp var/tmp`

func TestMountsThroughLinksThatLeadNowhere(t *testing.T) {
	imported(t, "reports-ostree", ostree)
	hold(t, []report{
		{name: "a sealed image has its mounts", source: "toolbox: Fedora Silverblue's /home is a link to var/home",
			do:  `$R reports-ostree -- sh -c 'touch ~/made && for d in /home /tmp /opt /run /var/tmp; do mountpoint -q $(readlink -f $d) && echo $d; done'; rm ~/made`,
			out: "/home\n/tmp\n/opt\n/run\n/var/tmp\n"},
		{name: "a workspace in /srv too", source: "toolbox: Fedora Silverblue's /srv is a link to var/srv", do: `$R reports-ostree -- touch made; ls`, out: "made\n"},
		{name: "root has a home", source: "toolbox: Fedora Silverblue's /root is a link to var/roothome", do: `cd /; $R --root reports-ostree -- sh -c 'cd ~ && pwd'`, out: "/root\n"},
		{name: "a plain one is refused", source: "podman: mount point is a dangling link", do: `$R reports-ostree-plain -- true`,
			err: "a symbolic link in the image leads nowhere", code: 125},
	})
	if out, err := exec.Command("find", filepath.Join(kit.Store, "reports-ostree/1"), "-maxdepth", "3", "-path", "*sysroot/*").Output(); err != nil || strings.Count(string(out), "\n") != 2 {
		t.Errorf("%s, %v", out, err)
	}
}

func TestWhatABindHidesIsTold(t *testing.T) {
	kit.Change(t, "reports-hidden-plain", "mkdir -p opt/python/bin home/builder; touch opt/python/bin/python opt/a opt/b opt/c")
	r := kit.Root(t, "image", "import", "reports-hidden", filepath.Join(kit.Store, "reports-hidden-plain"))
	t.Cleanup(func() { _ = kit.Root(t, "image", "remove", "reports-hidden") })
	for _, want := range []string{"/home (builder)", "/opt (", "--no-bind"} {
		if !strings.Contains(r.Err, want) {
			t.Errorf("import: %+v, want %q", r, want)
		}
	}
	hold(t, []report{
		{name: "explain tells", source: "toolbox: image's /home is not visible", do: `${R% run} policy explain reports-hidden | grep -c "has in /home, /opt;"`, out: "1\n"},
		{name: "a bind is left out", source: "distrobox: image's /opt hidden by the host's", do: `$R --no-bind /opt reports-hidden -- ls /opt`, out: "a\nb\nc\npython\n"},
		{name: "homes too, and one's own is beside them", source: "docker: image's home directory", do: `$R --no-bind /home reports-hidden -- sh -c 'ls /home; touch ~'`,
			out: "builder\n" + kit.User + "\n"},
		{name: "nothing of the host's", source: "autopkgtest: adduser fails on the host's /home", do: `$R --no-host-binds --chdir / reports-hidden -- sh -c 'ls /home; ls /opt; grep -c "^$(id -u):" /etc/passwd'`,
			out: "builder\na\nb\nc\npython\n0\n", err: "HOME is /tmp", code: 1},
		{name: "a bind that there is not", source: "nspawn: typing errors", do: `$R --no-bind /opt/python reports-hidden -- true`, err: "binds /home, /etc/passwd, /etc/group, /opt", code: 125},
	})
}
