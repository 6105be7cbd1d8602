package state

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/lock"
)

func isGone(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", name, err)
	}
}

func TestAnEmptyDirectoryIsRemoved(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	own := filepath.Join(top, "1")
	var list []*Entry
	for _, name := range []string{"a", "b"} {
		e, err := register(top, me, Record{Name: name, UID: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	for _, e := range list {
		if _, err := os.Stat(own); err != nil {
			t.Error(err)
		}
		if err := e.Remove(); err != nil {
			t.Error(err)
		}
	}
	isGone(t, own)
	if _, err := register(top, me, Record{Name: "/", UID: 1}, 0); err == nil { // nothing can be called so
		t.Error("registered")
	}
	isGone(t, own)
	if err := inTurn(top, me, 1, func() error { return nil }); err != nil {
		t.Error(err)
	}
	isGone(t, own)
	for _, collect := range []func() error{func() error { return collectOwner(top, 1) }, func() error { return collectAll(top) }} {
		e, err := register(top, me, Record{Name: "killed", UID: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		e.close()
		if err := collect(); err != nil {
			t.Error(err)
		}
		isGone(t, own)
	}
}

// Who waits for the turn of a directory that is then removed takes that of the next
// one.
func TestATurnOfNothingIsNone(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	dir, err := openInTurn(top, me, 1, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	registered := make(chan error)
	var e *Entry
	go func() {
		var err error
		e, err = register(top, me, Record{Name: "a", UID: 1}, 1)
		registered <- err
	}()
	time.Sleep(20 * time.Millisecond) // it waits, or comes later: both must do
	if err := removeEmpty(top, 1, dir); err != nil {
		t.Fatal(err)
	}
	lock.Done(dir)
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	// Neither does the first remove what is the second's.
	if err := errors.Join(removeEmpty(top, 1, dir), unix.Close(dir)); err != nil {
		t.Error(err)
	}
	if list, err := listOwner(top, 1); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := e.Remove(); err != nil {
		t.Error(err)
	}
}

// Launches, sessions and collectors of one owner, side by side: of the launches only
// one at a time, and nothing is left.
func TestTurnsOfADirectoryThatComesAndGoes(t *testing.T) {
	top, me := filepath.Join(t.TempDir(), "mayfly"), uint32(os.Getuid())
	var group sync.WaitGroup
	var alone, together sync.Mutex
	for range 4 {
		group.Go(func() {
			for range 100 {
				e, err := register(top, me, Record{Name: "one", UID: 1}, 0)
				if errors.Is(err, ErrNameTaken) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if !alone.TryLock() {
					t.Error("two have the name")
					return
				}
				goruntime.Gosched()
				alone.Unlock()
				if err := e.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for range 100 {
				err := inTurn(top, me, 1, func() error {
					if !together.TryLock() {
						return errors.New("two have the turn")
					}
					defer together.Unlock()
					return nil
				})
				if err = errors.Join(err, collectOwner(top, 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := collectAll(top); err != nil {
		t.Error(err)
	}
	isGone(t, filepath.Join(top, "1"))
}

// In a chroot there may be no /run. Nobody is going to make it, so nobody waits for
// that.
func TestNoPlaceForTheDirectory(t *testing.T) {
	above := filepath.Join(t.TempDir(), "run")
	begun := time.Now()
	_, err := register(filepath.Join(above, "mayfly"), uint32(os.Getuid()), Record{Name: "a", UID: 1}, 0)
	if err == nil || !strings.Contains(err.Error(), "there is no directory "+above) || time.Since(begun) > beginWithin/2 {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}
