package reports

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestNoNewPrivileges(t *testing.T) {
	const told = "no_new_privs is set for this process, as by systemd's NoNewPrivileges= and what implies it, and in many containers: no grant can have an effect"
	const without = `cd /home; setpriv --no-new-privs `
	hold(t, []report{
		{name: "run tells of no_new_privs first", source: "systemd: service with NoNewPrivileges cannot sudo; bubblewrap: setuid ineffective",
			do: without + `$R $T -- true`, code: 125, err: "runtime: runtime has no privilege: " + told},
		{name: "so does ps", source: "podman: newuidmap fails under no_new_privs",
			do: without + `runtime ps`, code: 125, err: "runtime: runtime has no privilege: " + told},
		{name: "so does grant --check", source: "sudo: effective uid is not 0 (no_new_privs)",
			do: without + `runtime grant --check | tail -1`, out: "policy       1 rules in /etc/mayfly\n", err: "runtime: runtime has no privilege: " + told},
		{name: "so does doctor", source: "sudo: effective uid is not 0 (no_new_privs)",
			do: without + `runtime doctor | grep -A1 "WRONG.*grant.*no_new_privs is set" | grep -c "call it from where that is not so"`, out: "1\n"},
		{name: "a grant that works is not blamed", source: "control",
			do: `cd /home; runtime grant --check | tail -1; runtime doctor | grep -c no_new_privs`, out: "all is well\n0\n", code: 1},
	})
}

// A service with ProtectSystem=strict sees the host read-only.
func TestAReadOnlyHost(t *testing.T) {
	for dir, want := range map[string]string{
		"/run":    "ReadWritePaths=/run/mayfly\n",
		kit.Store: "ReadWritePaths=" + kit.Store + "\n",
	} {
		if dir == kit.Store && kit.Image == kit.Sealed {
			continue // which nothing is written for
		}
		as := kit.As(t, kit.User, "true")
		cmd := exec.Command("unshare", "--mount", "sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"
			exec setpriv --reuid=`+kit.User+` --regid=`+kit.User+` --init-groups "$@"`, dir, kit.Runtime, "run", kit.Image, "--", "true")
		cmd.Env, cmd.Dir = as.Env, "/home"
		r := kit.Do(t, cmd)
		if r.Code != 125 || !strings.HasSuffix(r.Err, want) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s read-only: %+v, want %q", dir, r, want)
		}
	}
	kit.NothingLeft(t)
}

func TestNestedNamespaces(t *testing.T) {
	const dropIn = "/etc/mayfly/policy.d/00-nested.toml"
	const in = `cd /home; $R $T -- `
	plain := []report{
		{name: "without the policy's word there is no user namespace", source: "bubblewrap: Creating new namespace failed: Operation not permitted",
			do: in + `unshare -Ur id -u`, code: 1, err: "unshare failed: Operation not permitted"},
		{name: "nor a mount", source: "bubblewrap", do: in + `unshare -m true`, code: 1, err: "unshare failed: Operation not permitted"},
	}
	hold(t, plain)
	kit.Must(t, os.WriteFile(dropIn, []byte(kit.AllModes+"nested-namespaces = true\n"), 0o644))
	defer os.Remove(dropIn)
	hold(t, []report{
		{name: "a user namespace is made", source: "bubblewrap: No permissions to create new namespace; chromium: No usable sandbox",
			do: in + `unshare -Ur id -u`, out: "0\n"},
		{name: "mounts are made in it", source: "nix: cannot set up a private mount namespace",
			do: in + `unshare -Urm sh -c 'mount -t tmpfs x /mnt && mount --bind /tmp /mnt && echo mounted'`, out: "mounted\n"},
		{name: "a network too", source: "bitbake: disable_network: unshare fails",
			do: in + `unshare -Urn sh -c 'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "'`, out: "lo\n"},
		{name: "also without a network, and for root inside", source: "control",
			do:  `cd /home; $R --network none $T -- unshare -Ur id -u; $R --root $T -- unshare -Ur id -u`,
			out: "0\n0\n"},
		{name: "outside of it there is nothing more", source: "control",
			do:  in + `sh -c 'grep -E "CapBnd|CapEff|NoNewPrivs" /proc/self/status | tr -d "\t"; mount -t tmpfs x /mnt 2>&1 | grep -c "denied\|permi\|superuser"'`,
			out: "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\n1\n"},
		{name: "what is covered stays so", source: "runc: masked paths",
			do: in + `unshare -Urmpf sh -c 'umount /proc/kcore; umount /proc; umount -l /proc/sys; mount -t proc x /mnt; mount -t proc proc /proc
				mount -o remount,bind,rw /proc/sys; mount -o remount,bind,rw /opt; mount -o remount,bind,suid /home; mknod /tmp/sda b 8 0; head -c 1 /proc/kcore | wc -c
				mount | grep -c " /proc/sys .*ro,"; mount | grep -c " /home .*nosuid"' 2>/dev/null`,
			out: "0\n1\n1\n"},
		{name: "setns is refused", source: "control",
			do: in + `unshare -Ur sh -c 'nsenter --net=/proc/self/ns/net true' 2>&1 | grep -c 'Operation not permitted'`, out: "1\n"},
		{name: "the dry run shows it", source: "control",
			do: `cd /home; $R --dry-run $T -- true | grep -c '"nestedNamespaces": true'`, out: "1\n"},
	})
	if r := kit.Root(t, "run", "--", kit.Image, "unshare", "-Ur", "true"); r.Code == 0 {
		t.Errorf("the host's root: %+v", r)
	}
	kit.Must(t, os.Remove(dropIn))
	hold(t, plain[:1])
}

func TestRootWhoIsTheCaller(t *testing.T) {
	const dir = `cd $(mktemp -d ~/names-XXXXXX); trap 'rm -r $PWD' EXIT; `
	hold(t, []report{
		{name: "files of root are the caller's", source: "docker: files created in bind mounts are owned by root; podman: --userns=keep-id",
			do:  dir + `$R --root-as caller --bind . $T -- sh -c 'id -u; touch a; mkdir b; : >b/c'; stat -c %U a b b/c | sort -u | grep -cx $(id -un)`,
			out: "0\n1\n"},
		{name: "the caller's files are root's", source: "git: dubious ownership in rootless podman",
			do: dir + `touch a; chmod 600 a; $R --root-as caller --bind . $T -- sh -c 'stat -c %u a; cat a; chown 33 a; stat -c %u a'`, out: "0\n33\n"},
		{name: "as does exec, and packages' users are there", source: "control",
			do: `cd /home; n=names-$$; $R --name $n --root-as caller --writable $T -- sleep 60 & until runtime exec $n true 2>/dev/null; do sleep .1; done
				runtime exec $n sh -c 'id -u; touch /etc/x && chown daemon /etc/x && stat -c %U /etc/x'; runtime kill --signal KILL $n; wait`, out: "0\ndaemon\n"},
		{name: "the default is as it was", source: "control",
			do: dir + `chmod 777 .; $R --root-as subordinate --bind . $T -- touch a; test $(stat -c %u a) != $(id -u) && echo other; $R --root --bind . $T -- rm a`, out: "other\n"},
	})
}
