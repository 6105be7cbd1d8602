package foreign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/runtime/policy"
)

// check parses a text as policy and returns how many rules it has.
func check(t testing.TB, text string) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Check(name)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return rules
}

func never(string) bool { return false }

func TestSchroot(t *testing.T) {
	got, err := Schroot("/etc/schroot/chroot.d/build", `
# comment
[bookworm]
type=btrfs-snapshot
description=Debian bookworm
btrfs-source-subvolume=/var/lib/machines/deb12-i386
btrfs-snapshot-directory=/srv/snapshots
aliases=stable, deb12
users=alice,bob
groups=sbuild
root-users=alice
personality=linux32
preserve-environment=true
profile=desktop

[rootonly]
type=directory
directory=/srv/chroot/old

[tar]
type=file
file=/srv/a b's.tar.gz
users=alice
`, func(profile string) string {
		if profile != "desktop" {
			return ""
		}
		return "# fs\n/proc /proc none rw,bind 0 0\n/home /home none rw,bind 0 0\n/srv/sdk /srv/sdk none ro,bind 0 0\n/a /b none rw,bind 0 0\ntmpfs /x tmpfs rw 0 0\n/ / none rw,bind 0 0\n"
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := check(t, got); n != 3 {
		t.Errorf("%d rules", n)
	}
	for _, want := range []string{
		`images = ["deb12-i386", "stable", "deb12"]`, `users = ["alice", "bob"]`, `groups = ["sbuild"]`, `personality = "x86"`, "env-all = true",
		`bind-ro = ["/etc/passwd", "/etc/group", "/srv/sdk"]`, `bind = ["/home"]`, "# not taken over: root-users=alice", "# not taken over: fstab: /a /b",
		"# not taken over: fstab: / /", `images = ["old"]`, `users = ["root"]`, "# runtime image import old /srv/chroot/old", `images = ["tar"]`, `# runtime image import tar '/srv/a b'\''s.tar.gz'`,
	} {
		if !strings.Contains(got, want+"\n") && !strings.Contains(got, want+" ") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "/proc") {
		t.Errorf("the container's own /proc is bound:\n%s", got)
	}
}

func TestNspawn(t *testing.T) {
	got, err := Nspawn("/etc/systemd/nspawn/deb11.nspawn", "[Exec]\nPersonality=x86\nEphemeral=yes\nBoot=no\nUser=builder\n"+
		"[Files]\nBind=/home\nBindReadOnly=/opt:/opt:rbind\nBind=/a:/b\nBind=/srv/\\\n  x\n[Network]\nPrivate=yes\n",
		func(path string) bool { return path == "/var/lib/machines/deb11.raw" })
	if err != nil {
		t.Fatal(err)
	}
	if n := check(t, got); n != 1 {
		t.Errorf("%d rules", n)
	}
	for _, want := range []string{
		`images = ["deb11"]`, `users = ["root"]`, `personality = "x86"`, `bind = ["/home", "/srv/ x"]`, `"/opt"]`, `network = ["none"]`,
		"# runtime image import deb11 /var/lib/machines/deb11.raw\n", "# not taken over: [Exec] User=builder", "# not taken over: [Files] Bind=/a:/b",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// A name of schroot's or of a file is that name alone, and no glob.
func TestANameThatNoImageCanHaveIsNotTakenOver(t *testing.T) {
	got, err := Schroot("f", "[*]\ndirectory=/srv/chroot/deb12\naliases=a{b},stable,[!x],ä,deb@1\nusers=u\n\n[none]\ndirectory=/\nusers=u\n",
		func(string) string { return "" })
	if err != nil || check(t, got) != 1 || !strings.Contains(got, "images = [\"deb12\", \"stable\"]\n") || strings.Count(got, "# not taken over: image name ") != 5 {
		t.Errorf("%v\n%s", err, got)
	}
	got, err = Nspawn("/etc/systemd/nspawn/*.nspawn", "[Exec]\nEphemeral=yes\n", never)
	if err != nil || check(t, got) != 0 || !strings.Contains(got, "# not taken over: image name \"*\"") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestWhatIsWrongIsNamedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"x=1": "f:1: ", "[a]\nb": "f:2: ", "[a": "f:1: ", "[]": "f:1: ", "[a]\n\n=\n[": "f:4: ",
	} {
		if _, err := Schroot("f", text, func(string) string { return "" }); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if _, err := Nspawn("f", text, never); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Whatever is read, what comes out is a policy, and never one for everybody.
func FuzzSchroot(f *testing.F) {
	f.Add("[a]\ndirectory=/x\nusers=u\n", "/home /home none bind 0 0")
	f.Add("[a]\naliases=\"\\\nprofile=\x00", "/\"a /\"a none rw,bind 0 0")
	f.Fuzz(func(t *testing.T, text, fstab string) {
		got, err := Schroot("f", text, func(string) string { return fstab })
		proveSafe(t, got, err)
	})
}

func FuzzNspawn(f *testing.F) {
	f.Add("a.nspawn", "[Files]\nBind=/home\n[Network]\nPrivate=yes\n")
	f.Add("\"\n.nspawn", "[Exec]\nPersonality=x86\\\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		got, err := Nspawn(name, text, never)
		proveSafe(t, got, err)
	})
}

func proveSafe(t *testing.T, text string, err error) {
	t.Helper()
	if err != nil {
		return
	}
	rules, wrong := policy.CheckText("f", []byte(text))
	if wrong != nil {
		// A name that no rule can hold is told when the rule is looked at: nothing is
		// run.
		return
	}
	if strings.Count(text, "[[rule]]") < rules || strings.Count(text, "\nusers = ")+strings.Count(text, "\ngroups = ") < rules {
		t.Errorf("%d rules, some for everybody:\n%s", rules, text)
	}
}
