package reports

import (
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// As dpkg unpacks a file: a new one beside the old one, and a rename.
const unpack = `for f in localtime timezone hosts hostname resolv.conf; do echo new >/etc/$f.dpkg-new && mv /etc/$f.dpkg-new /etc/$f || exit; done; cat /etc/localtime /etc/hosts`

func TestPackageManagersReplaceFilesOfEtc(t *testing.T) {
	t.Cleanup(func() { _ = kit.Run(t, "session", "end", "reports") })
	hold(t, []report{
		{name: "in a writable root", source: "systemd-nspawn: apt cannot configure tzdata, /etc/localtime is busy", do: `$R --root --writable $T -- sh -c '` + unpack + `'`,
			out: "new\nnew\n"},
		{name: "in a session", source: "toolbox: dnf upgrade fails, device or resource busy on /etc/hosts",
			do:  `runtime session begin --name reports $T >/dev/null; $R --root --session reports -- sh -c '` + unpack + `'; $R --session reports -- cat /etc/hostname`,
			out: "new\nnew\nnew\n"},
		{name: "what is changed in a session stays", source: "toolbox: edits of /etc/hosts are gone",
			do:  `$R --root --session reports -- sh -c 'echo "10.0.0.1 mine" >>/etc/hosts'; $R --session reports -- grep mine /etc/hosts; for i in 1 2 3 4 5 6; do $R --session reports -- true & done; wait`,
			out: "10.0.0.1 mine\n"},
		{name: "they are the container's own", source: "podman: /etc/hosts lacks the container",
			do: `$R --writable --hostname me $T -- sh -c 'cat /etc/hostname; grep -c "127.0.1.1.me" /etc/hosts; cmp /etc/resolv.conf - && echo same' </etc/resolv.conf`, out: "me\n1\nsame\n"},
	})
}

// What a launch writes into an image that is being changed is of this machine, and no
// part of it.
func TestAnImageKeepsNothingOfTheMachine(t *testing.T) {
	imported(t, "reports-etc", "printf 'the image'\"'\"'s\\n' >etc/hosts; rm -f etc/hostname; echo Etc/UTC >etc/timezone; ln -sf /usr/share/zoneinfo/Etc/UTC etc/localtime")
	show := "cat /etc/hosts /etc/hostname; readlink /etc/localtime; ls -A /etc | grep mayfly"
	run := func(version, script string) kit.Result {
		return kit.Do(t, exec.Command("sh", "-c", "cd "+kit.Store+"/reports-etc/"+version+" && "+strings.ReplaceAll(script, "/etc", "etc")))
	}
	before := run("1", show)
	for i, command := range []string{"grep -q reports /etc/hosts && cat /etc/resolv.conf >/dev/null", unpack} {
		if r := kit.Root(t, "image", "shell", "--keep", "reports-etc", "--", "sh", "-c", command); r.Code != 0 {
			t.Fatalf("%s: %+v", command, r)
		}
		want := before.Out
		if i == 1 {
			want = "new\nnew\n"
		}
		if r := run([]string{"2", "3"}[i], show); r.Out != want {
			t.Errorf("%s: %+v, want %q", command, r, want)
		}
	}
}

// TestTheTimeZoneIsOne runs in a mount namespace in which the host is elsewhere.
func TestTheTimeZoneIsOne(t *testing.T) {
	dir := t.TempDir()
	script := `cp -a /etc ` + dir + ` && mount --bind ` + dir + `/etc /etc && ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime || exit
for flag in "" --writable; do setpriv --reuid ` + kit.User + ` --regid ` + kit.User + ` --init-groups env -u TZ ` + kit.Runtime + ` run --chdir / $flag ` + kit.Image + ` sh -c 'date +%z; cat /etc/timezone'; done`
	if r := kit.Do(t, exec.Command("unshare", "--mount", "sh", "-c", script)); r.Out != "+0900\nAsia/Tokyo\n+0900\nAsia/Tokyo\n" {
		t.Errorf("%+v", r)
	}
}
