package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// chroot is the image for Debian's tools: without the host's binds.
var chroot = kit.Image + "-sbuild"

// configured returns the beginning of a command with a configuration of sbuild that names
// the program under schroot's name.
func configured(t *testing.T) []string {
	t.Helper()
	maySbuild(t)
	config := filepath.Join(kit.WorkDirectory(t, kit.User), "sbuildrc")
	kit.Must(t, os.WriteFile(config, []byte("$conf->set('SCHROOT', '"+schrootLink+"');\n1;\n"), 0o644))
	return []string{"env", "SBUILD_CONFIG=" + config}
}

func sbuild(args ...string) []string {
	return append([]string{"sbuild", "--verbose", "--no-run-lintian", "--dist=bookworm", "--arch=" + arch, "--chroot=" + chroot}, args...)
}

func TestSbuildBySchroot(t *testing.T) {
	defer kit.NothingLeft(t)
	env := configured(t)
	dir, dsc := aDsc(t)
	r := do(t, 0, dir, append(env, sbuild(dsc)...)...)
	contains(t, r.Out, "Status: successful", "built by "+kit.User+", home: ")
	if strings.Contains(r.Out, "home: "+kit.User) || strings.Contains(r.Out, kit.Other) {
		t.Errorf("the host's /home is there:\n%s", r.Out)
	}
	built(t, dir)
}

func TestSbuildTellsOfAFailure(t *testing.T) {
	defer kit.NothingLeft(t)
	env := configured(t)
	dir, tree := source(t)
	kit.Must(t, os.WriteFile(filepath.Join(tree, "tiny.c"), []byte("#error no\n"), 0o644))
	do(t, 0, dir, "dpkg-source", "--build", tree)
	r := do(t, 2, dir, append(env, sbuild(filepath.Join(dir, "tiny_1.0.dsc"))...)...)
	contains(t, r.Out, "Status: attempted")
}

func TestGitBuildpackage(t *testing.T) {
	defer kit.NothingLeft(t)
	env := configured(t)
	dir, tree := source(t)
	for _, args := range [][]string{
		{"git", "init", "--quiet", "--initial-branch=master"}, {"git", "add", "--all"},
		{"git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "--message=first"},
	} {
		do(t, 0, tree, args...)
	}
	do(t, 0, tree, append(env, "gbp", "buildpackage", "--git-export-dir="+dir, "--git-builder="+strings.Join(sbuild("--no-clean-source"), " "))...)
	built(t, dir)
}
