package user

import (
	"errors"
	"slices"
	"testing"

	"mayfly/runtime/user/passwd"
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
		if _, _, err := d.ByName(name); !errors.Is(err, passwd.ErrUnknown) {
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
		if _, err := d.GroupByName(name); !errors.Is(err, passwd.ErrUnknownGroup) {
			t.Errorf("group %q: %v", name, err)
		}
	}
	if got, err := d.MissingGroups([]uint32{50, 3000, 4000, 3000}); err != nil || !slices.Equal(got, []string{"ldapgroup:*:3000:dev"}) {
		t.Errorf("missing %v, %v", got, err)
	}
}

func TestMissingGroupsAreAskedForAtOnce(t *testing.T) {
	for _, c := range []struct {
		out  string // of getent
		want []string
	}{
		{"g3:*:3000:dev\ng5:*:5000:\n", []string{"g3:*:3000:dev", "g5:*:5000:"}},
		{"g5:*:5000:\ng3:*:3000:\n", []string{"g5:*:5000:", "g3:*:3000:"}},
		{"g3:*:3000:\nalias:*:3000:\nroot:x:0:dev\nfour:*:4:\nbroken\n:*:4000:\ng4:x:4000:a:b\n", []string{"g3:*:3000:"}},
		{"", nil},
	} {
		var calls [][]string
		d := database(nil)
		d.ask = func(database string, keys ...string) (string, error) {
			calls = append(calls, append([]string{database}, keys...))
			return c.out, nil
		}
		got, err := d.MissingGroups([]uint32{3000, 50, 4000, 3000, 5000})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v", c.out, got, err)
		}
		if len(calls) != 1 || !slices.Equal(calls[0], []string{"group", "3000", "4000", "5000"}) {
			t.Errorf("asked %q", calls)
		}
	}
	d, calls := database(nil), 0
	d.ask = func(string, ...string) (string, error) {
		calls++
		return "", nil
	}
	var many []uint32
	for i := range uint32(2001) {
		many = append(many, 100000+i)
	}
	if _, err := d.MissingGroups(many); err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if _, err := d.MissingGroups([]uint32{50}); err != nil || calls != 3 {
		t.Errorf("%d calls for nothing", calls-3)
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
	if got := string(passwd.Append(file, "c", "d")); got != "a:b\nc\nd\n" || string(file) != "a:b" {
		t.Errorf("%q, %q", got, file)
	}
}
