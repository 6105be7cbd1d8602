package user

import (
	"errors"
	"slices"
	"testing"
)

func database(answers map[string]string) *Database {
	return &Database{
		Passwd:    []byte("root:x:0:0:root:/root:/bin/bash\nbroken line\ndev:x:1000:1000:,,,:/home/dev:/bin/zsh\n"),
		Group:     []byte("root:x:0:\nusers:x:50:dev,other\ndev:x:1000:\n"),
		elsewhere: func(...string) (bool, error) { return false, nil },
		ask: func(database string, keys ...string) (out string, err error) {
			for _, key := range append(keys, "all")[:max(len(keys), 1)] {
				if line, ok := answers[database+" "+key]; ok {
					out += line + "\n"
				}
			}
			return out, nil
		},
	}
}

func TestFind(t *testing.T) {
	d := database(map[string]string{"passwd 2000": "ldap:*:2000:50:L:/home/ldap:/bin/sh", "passwd 0": "root:x:0:0::/:/bin/sh"})
	if e, listed, err := d.ByName("dev"); err != nil || !listed || e.UID != 1000 || e.Shell != "/bin/zsh" {
		t.Errorf("dev: %+v, %v, %v", e, listed, err)
	}
	if e, listed, err := d.ByID(2000); err != nil || listed || e.Name != "ldap" {
		t.Errorf("a user of NSS: %+v, %v, %v", e, listed, err)
	}
	for _, name := range []string{"", "nobody-here", "0", "-x", "a:b", "a\nb"} {
		if _, _, err := d.ByName(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestGroups(t *testing.T) {
	d := database(map[string]string{"group 3000": "ldapgroup:*:3000:dev", "initgroups dev": "dev 50 3000", "group ldapgroup": "ldapgroup:*:3000:dev"})
	e, _, _ := d.ByID(1000)
	if got, err := d.Groups(e); err != nil || !slices.Equal(got, []uint32{1000, 50}) {
		t.Errorf("groups of the files %v, %v", got, err)
	}
	d.elsewhere = func(...string) (bool, error) { return true, nil }
	if got, err := d.Groups(e); err != nil || !slices.Equal(got, []uint32{1000, 50, 3000}) {
		t.Errorf("groups %v, %v", got, err)
	}
	if gid, err := d.GroupByName("ldapgroup"); err != nil || gid != 3000 {
		t.Errorf("ldapgroup is %d, %v", gid, err)
	}
	for _, name := range []string{"", "nosuch", "3000", "-x", "a:b", "a\nb"} {
		if _, err := d.GroupByName(name); !errors.Is(err, ErrUnknownGroup) {
			t.Errorf("group %q: %v", name, err)
		}
	}
	if got, err := d.MissingGroups([]uint32{50, 3000, 4000, 3000}); err != nil || !slices.Equal(got, []string{"ldapgroup:*:3000:dev"}) {
		t.Errorf("missing %v, %v", got, err)
	}
}

func TestWhereGroupsAre(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "group: files": false, "passwd: files sss\ngroup:\tfiles systemd # sss\n": false, "group: files [NOTFOUND=return] sss": true,
		"initgroups: files ldap\n": true, "groups: ldap": false, " group : compat": false, "group:": false, "group": false,
	} {
		if got := elsewhere(text, groupSources); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAppendKeepsTheFileWhole(t *testing.T) {
	file := []byte("a:b")
	if got := string(Append(file, "c", "d")); got != "a:b\nc\nd\n" || string(file) != "a:b" {
		t.Errorf("%q, %q", got, file)
	}
}
