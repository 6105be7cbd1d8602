// Package debian runs the tools that Debian's packages are built and tested with:
// autopkgtest, sbuild and git-buildpackage, as an ordinary user.
package debian

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// sbuildGroup is the group of those who may use sbuild.
const sbuildGroup = "sbuild"

// arch is the architecture of the image, in Debian's words.
var arch = strings.TrimPrefix(kit.Base, "deb12-")

// server is the adapter for autopkgtest; schrootLink is the program under schroot's name.
var (
	prefix      = filepath.Dir(filepath.Dir(kit.Runtime))
	server      = filepath.Join(prefix, "bin/autopkgtest-virt-mayfly")
	schrootLink = filepath.Join(prefix, "libexec/mayfly/schroot")
)

// tiny are the files of a source package that needs nothing but a compiler.
var tiny = map[string]string{
	"tiny.c":               "#include <stdio.h>\nint main(void) { puts(\"tiny\"); return 0; }\n",
	"debian/source/format": "3.0 (native)\n",
	"debian/changelog":     "tiny (1.0) bookworm; urgency=low\n\n  * First.\n\n -- Mayfly <mayfly@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n",
	"debian/control": "Source: tiny\nMaintainer: Mayfly <mayfly@example.org>\nSection: misc\nPriority: optional\nStandards-Version: 4.6.2\n\n" +
		"Package: tiny\nArchitecture: any\nDescription: a program\n It says its name.\n",
	"debian/rules": `#!/usr/bin/make -f
build build-arch build-indep:
	echo "built by $$(id -un), home: $$(ls /home /home/*)"
	$(CC) -o tiny tiny.c
clean:
	rm -rf tiny debian/tiny debian/files
binary binary-arch: build
	install -D tiny debian/tiny/usr/bin/tiny
	install -d debian/tiny/DEBIAN
	dpkg-gencontrol -ptiny -Pdebian/tiny
	dpkg-deb --root-owner-group -b debian/tiny ..
binary-indep:
.PHONY: build build-arch build-indep clean binary binary-arch binary-indep
`,
	"debian/tests/control": "Tests: user background\nDepends:\nRestrictions: allow-stderr\n\n" +
		"Tests: root\nDepends:\nRestrictions: needs-root, breaks-testbed\n\n" +
		"Tests: fresh\nDepends:\n\nTests: fails\nDepends:\n",
	"debian/tests/user":       "#!/bin/sh -e\n[ \"$(id -un)\" = " + kit.User + " ]\ntouch ~/home-is-writable \"$AUTOPKGTEST_TMP/tmp-is\"\n[ -z \"$MAYFLY_IMAGE\" ]\n",
	"debian/tests/background": "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1000 &\n",
	"debian/tests/root":       "#!/bin/sh -e\n[ \"$(id -u)\" = 0 ]\nadduser --quiet --disabled-password --gecos x somebody\nmkdir /broken\n",
	"debian/tests/fresh":      "#!/bin/sh\n[ ! -e /broken ]\n",
	"debian/tests/fails":      "#!/bin/sh\nexit 3\n",
}

// source writes the package into a directory of the user's, and returns its tree.
func source(t *testing.T) (dir, tree string) {
	t.Helper()
	dir = kit.WorkDirectory(t, kit.User)
	tree = filepath.Join(dir, "tiny-1.0")
	for name, text := range tiny {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		name = filepath.Join(tree, name)
		kit.Must(t, errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode)))
	}
	kit.Command(t, "chown", "-R", kit.User+":", tree)
	return dir, tree
}

// as returns a command of the user's in a directory. The user is in the group of sbuild.
func as(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := kit.As(t, kit.User, args...)
	cmd.Dir = dir
	return cmd
}

// do runs such a command and wants an exit status.
func do(t *testing.T, code int, dir string, args ...string) kit.Result {
	t.Helper()
	r := kit.DoWithin(t, kit.Within(5*time.Minute), as(t, dir, args...))
	if r.Code != code {
		t.Fatalf("%q: exit status %d, want %d:\n%s\n%s", args, r.Code, code, r.Out, r.Err)
	}
	return r
}

// aDsc makes the source package's .dsc.
func aDsc(t *testing.T) (dir, dsc string) {
	t.Helper()
	dir, tree := source(t)
	do(t, 0, dir, "dpkg-source", "--build", tree)
	return dir, filepath.Join(dir, "tiny_1.0.dsc")
}

// maySbuild puts the user into the group of sbuild for the test.
func maySbuild(t *testing.T) {
	t.Helper()
	kit.Command(t, "gpasswd", "--add", kit.User, sbuildGroup)
	t.Cleanup(func() { kit.Command(t, "gpasswd", "--delete", kit.User, sbuildGroup) })
}

// contains fails the test unless a text has all of some parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}
