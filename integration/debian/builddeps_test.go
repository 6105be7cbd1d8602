package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// The second build of a package begins with what it needs.
func TestBuildDependenciesAreInstalledOnce(t *testing.T) {
	defer kit.NothingLeft(t)
	defer func() {
		for _, name := range strings.Fields(kit.Run(t, "session", "list", "--names").Out) {
			kit.Run(t, "session", "end", name)
		}
	}()
	env := configured(t)
	dir, tree := source(t)
	needs := func(packages string) string {
		text := strings.Replace(tiny["debian/control"], "Section: misc\n", "Section: misc\nBuild-Depends: "+packages+"\n", 1)
		kit.Must(t, os.WriteFile(filepath.Join(tree, "debian/control"), []byte(text), 0o644))
		do(t, 0, dir, "dpkg-source", "--build", tree)
		return filepath.Join(dir, "tiny_1.0.dsc")
	}
	session := func(dsc string) string {
		return strings.TrimSpace(do(t, 0, dir, kit.Runtime, "session", "for-builddeps", kit.Image, dsc).Out)
	}
	dsc := needs("hello")
	name := session(dsc)
	if again := session(dsc); again != name {
		t.Errorf("%s, then %s", name, again)
	}
	if r := kit.Run(t, "run", "--session", name, "--discard", "--", "hello"); r.Out != "Hello, world!\n" {
		t.Errorf("%+v", r)
	}
	r := do(t, 0, dir, append(env, "sbuild", "--verbose", "--no-run-lintian", "--dist=bookworm", "--arch="+arch, "--chroot="+name+"-sbuild", dsc)...)
	if strings.Contains(r.Out, "Setting up hello") {
		t.Errorf("sbuild installs:\n%s", r.Out)
	}
	built(t, dir)
	do(t, 0, dir, "autopkgtest", "--no-built-binaries", "--test-name=user", tree, "--", "mayfly", "--session", name)
	// Other dependencies are another session. This one may be about to be used.
	other := session(needs("hello, bc"))
	if list := kit.Run(t, "session", "list", "--names").Out; other == name || !strings.Contains(list, other+"\n") || !strings.Contains(list, name+"\n") {
		t.Errorf("%s after %s: %q", other, name, list)
	}
	// What cannot be installed leaves nothing.
	bad := needs("no-such-package")
	do(t, 125, dir, kit.Runtime, "session", "for-builddeps", kit.Image, bad)
	if list := kit.Run(t, "session", "list", "--names").Out; strings.Count(list, "\n") != 2 {
		t.Errorf("left: %q", list)
	}
}

func TestBuildDependenciesOfWhat(t *testing.T) {
	dir := kit.WorkDirectory(t, kit.User)
	for text, want := range map[string]string{"": "it is empty", "Source: a/b\n": "no source package", "Package: x\n": "no source package"} {
		file := filepath.Join(dir, "x.dsc")
		kit.Must(t, os.WriteFile(file, []byte(text), 0o644))
		if r := kit.Run(t, "session", "for-builddeps", kit.Image, file); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%q: %+v", text, r)
		}
	}
	for _, c := range [][3]string{{"nosuch", "/dev/null", "it is empty"}, {kit.Image, dir + "/nosuch.dsc", "no such file"}, {kit.Image, dir, "directory"}, {"nosuch", dir + "/good.dsc", "unknown image"}} {
		kit.Must(t, os.WriteFile(dir+"/good.dsc", []byte("Source: x\n"), 0o644))
		if r := kit.Run(t, "session", "for-builddeps", c[0], c[1]); r.Code != 125 || !strings.Contains(r.Err, c[2]) {
			t.Errorf("%q: %+v", c, r)
		}
	}
}
