package state

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestOwnersAreCountedApart(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	a, err := register(top, me, Record{Name: "a", UID: 1}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := register(top, me, Record{Name: "a", UID: 1}, 2); !errors.Is(err, ErrNameTaken) {
		t.Errorf("the same name: %v", err)
	}
	b, err := register(top, me, Record{Name: "b", UID: 1, Command: []string{"x\ny"}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	const tooMany = "you already run 2 of 2 containers (`runtime ps`)"
	if _, err := register(top, me, Record{Name: "c", UID: 1}, 2); !errors.Is(err, ErrTooMany) || err.Error() != tooMany {
		t.Errorf("a third of two: %v, want %s", err, tooMany)
	}
	other, err := register(top, me, Record{Name: "a", UID: 2}, 2)
	if err != nil {
		t.Fatalf("another owner: %v", err)
	}
	list, err := listOwner(top, 1)
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := a.Remove(); err != nil {
		t.Fatal(err)
	}
	c, err := register(top, me, Record{Name: "c", UID: 1}, 2)
	if err != nil {
		t.Fatalf("after one has ended: %v", err)
	}
	for _, e := range []*Entry{b, c, other} {
		if err := e.Remove(); err != nil {
			t.Error(err)
		}
	}
	if list, err := listAll(top); err != nil || len(list) != 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

func TestTheDeadDoNotCount(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	for _, name := range []string{"a", "b"} {
		e, err := register(top, me, Record{Name: name, UID: 1}, 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e.close() // as the kernel does for a killed process
	}
	e, err := register(top, me, Record{Name: "b", UID: 1}, 0)
	if err != nil {
		t.Fatalf("a dead one's name: %v", err)
	}
	if err := collectAll(top); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(filepath.Join(top, "1")); len(names) != 2 || names[0].Name() != "=b" || names[1].Name() != "b" {
		t.Errorf("collect left %v", names)
	}
	if err := e.Remove(); err != nil {
		t.Error(err)
	}
}

func TestOfManyAtOnceOnlyAsManyAsAllowed(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	var group sync.WaitGroup
	results := make(chan error, 40)
	for i := range 40 {
		group.Go(func() {
			_, err := register(top, me, Record{Name: string(rune('A' + i)), UID: 1}, 5)
			results <- err
		})
	}
	group.Wait()
	close(results)
	ok := 0
	for err := range results {
		switch {
		case err == nil:
			ok++
		case !errors.Is(err, ErrTooMany):
			t.Error(err)
		}
	}
	if ok != 5 {
		t.Errorf("%d containers, want 5", ok)
	}
}

func TestADirectoryOfSomebodyElseIsNotUsed(t *testing.T) {
	me := uint32(os.Getuid())
	for what, spoil := range map[string]func(top string) error{
		"writable by others": func(top string) error { return errors.Join(os.Mkdir(top, 0o777), os.Chmod(top, 0o777)) },
		"a link":             func(top string) error { return os.Symlink(filepath.Dir(top), top) },
		"a file":             func(top string) error { return os.WriteFile(top, nil, 0o600) },
		"an owner's link": func(top string) error {
			return errors.Join(os.Mkdir(top, 0o755), os.Symlink("/tmp", filepath.Join(top, "1")))
		},
	} {
		top := filepath.Join(t.TempDir(), "mayfly")
		if err := spoil(top); err != nil {
			t.Fatal(err)
		}
		if e, err := register(top, me, Record{Name: "x", UID: 1}, 0); err == nil {
			t.Errorf("%s: used", what)
			_ = e.Remove()
		}
	}
	if _, err := register(filepath.Join(t.TempDir(), "mayfly"), me+1, Record{Name: "x", UID: 1}, 0); err == nil {
		t.Error("of another owner: used")
	}
}

func TestARecordHasItsBound(t *testing.T) {
	for _, command := range [][]string{nil, {"true"}, {strings.Repeat("\x01", 2<<20)}, {"sh", "-c", strings.Repeat("<", 5000)}, slices.Repeat([]string{"é"}, 100000)} {
		text, err := Record{Name: "a", Command: command}.encode(maxText)
		if err != nil || len(text) > maxText {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		var r Record
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Name != "a" {
			t.Fatalf("%v in %q", err, text)
		}
		if whole := slices.Equal(r.Command, command); whole == r.Cut || !whole && len(text) < maxText/8 {
			t.Errorf("cut %v, %d bytes, %.40q", r.Cut, len(text), r.Command)
		}
	}
	if _, err := (Record{Root: strings.Repeat("r", 5000)}).encode(maxText); err == nil {
		t.Error("what cannot be cut is too long")
	}
}

func TestWhatNoRecordSaysIsRemoved(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	e, err := register(top, me, Record{Name: "a", UID: 7}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// As of a launch that was killed before its record had a name.
	if err := os.Symlink("{}", filepath.Join(top, "7", "=killed")); err != nil {
		t.Fatal(err)
	}
	// As of a removal that could not remove the socket.
	if err := os.WriteFile(filepath.Join(top, "7", ".failed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := collectAll(top); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(filepath.Join(top, "7")); len(names) != 2 {
		t.Errorf("left: %v", names)
	}
	if err := e.Remove(); err != nil {
		t.Error(err)
	}
}

func TestAMuteRecordIsListedByItsName(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	e, err := register(top, me, Record{Name: "mute", UID: 7, Root: "/r"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(top, "7", "=mute")); err != nil {
		t.Fatal(err)
	}
	list, err := listAll(top)
	if err != nil || len(list) != 1 || list[0].Name != "mute" || list[0].UID != 7 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, alive := living(top, 7, "mute"); !alive {
		t.Error("it is taken for dead")
	}
	if err := e.Remove(); err != nil {
		t.Error(err)
	}
	if _, alive := living(top, 7, "mute"); alive {
		t.Error("it is taken for living")
	}
}
