package attack

import (
	"fmt"
	"testing"

	"mayfly/integration/kit"
)

// A digest is of what is in the image, whatever its archive has made and removed on the
// way: a file system gives the inode number of a removed file to the next one.
func TestM07ADigestThatTheArchiveChooses(t *testing.T) {
	many := []entry{file("good", "GOOD")}
	for i := range kit.Rounds(5_000, 250_000) { // as many sums as are kept, which a unit test has few of
		many = append(many, file(fmt.Sprintf("d%d/f%d", i/1000, i), ""))
	}
	freed := []entry{dirEntry("etc/"), file("etc/other", "x")} // numbers for the directories that are made, and some more
	for i := range 64 {
		freed = append(freed, file(fmt.Sprint("etc/good", i), "GOOD"))
	}
	for i := range 64 {
		freed = append(freed, hardlink(fmt.Sprint("etc/good", i), "etc/other"))
	}
	store := overlayStore(t)
	for _, c := range []struct {
		what string
		data []byte
	}{
		{"a file in the place of another, when no more sums are kept", compressed(t, tarOf(t, append(many, hardlink("good", "d0/f0"), file("evil", "EVIL"))...))},
		{"a file in the place of another", tarOf(t, file("other", "x"), file("good", "GOOD"), hardlink("good", "other"), file("evil", "EVIL"))},
		{"mount points in the place of files", tarOf(t, freed...)},
	} {
		if r := importInto(t, store, c.data); r.Code != 0 {
			t.Errorf("%s: %+v", c.what, r)
			continue
		}
		if r := kit.Root(t, "image", "verify", "--store", store, "attack").WithoutProgress(); r.Code != 0 {
			t.Errorf("%s: the digest is of something else: %+v", c.what, r)
		}
		kit.Succeed(t, "image", "remove", "--store", store, "attack")
	}
}
