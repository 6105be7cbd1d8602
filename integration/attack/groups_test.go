package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// giveUp has all groups given up but the group 0, as far as that goes, and then reads
// files.
const giveUp = `perl -e '$) = "0 0"; $( = 0; for (@ARGV) { print open(F, "<", $_) ? <F> : "closed\n" }' /mnt/group /mnt/own; cat /proc/self/setgroups`

// A file that is closed to one of the caller's groups and open to all others stays
// closed to root inside, unless somebody who may say so lets the caller give up groups.
func TestC40RootInsideKeepsGroups(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := directory(t, "/var/tmp", kit.User)
		kit.Must(t, os.Chmod(dir, 0o755))
		for name, group := range map[string]string{"group": kit.Group, "own": kit.User} {
			path := filepath.Join(dir, name)
			write(t, path, "open\n")
			kit.Must(t, exec.Command("chgrp", group, path).Run())
			kit.Must(t, os.Chmod(path, 0o604))
		}
		ids := fmt.Sprintf("%susers = [%q]\nroot-ids = 1100000000\n", kit.AllModes, kit.User)
		read := func(onlyGroup bool) kit.Result {
			cmd := w.cmd(t, "run", "--root", "--chdir", "/", "--bind-ro", dir+":/mnt", kit.Image, "sh", "-c", giveUp)
			if onlyGroup && w.name != "sudo" { // it has the database's groups
				_, _, own := kit.Lookup(t, kit.User)
				groups := cmd.SysProcAttr.Credential.Groups[:0]
				for _, g := range cmd.SysProcAttr.Credential.Groups {
					if g != own {
						groups = append(groups, g)
					}
				}
				cmd.SysProcAttr.Credential.Groups = groups
			}
			return kit.Do(t, cmd)
		}
		rule(t, ids)
		for _, onlyGroup := range []bool{false, true} {
			if r := read(onlyGroup); r.Out != "closed\nclosed\ndeny\n" {
				t.Errorf("root-ids (own group not among the others: %v): %+v", onlyGroup, r)
			}
		}
		rule(t, ids+"drop-groups = true\n")
		if r := read(false); r.Out != "open\nopen\nallow\n" {
			t.Errorf("drop-groups: %+v", r)
		}
		rule(t, strings.ReplaceAll(ids, "root-ids = 1100000000\n", ""))
		if r := read(false); r.Out != "open\nopen\nallow\n" {
			t.Errorf("by subgid: %+v", r)
		}
	})
}
