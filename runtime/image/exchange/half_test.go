package exchange

import "testing"

// An archive ends in two blocks of zeros (POSIX.1-2001, pax). One that lacks them was
// cut off.
func TestAnArchiveThatIsCutOffBetweenItsFilesIsNotWhole(t *testing.T) {
	whole := archiveOf(t, "a", "b")
	for _, n := range []int{513, 1024, 1536, 1537, 2048} {
		if _, _, err := imported(t, Source{Name: written(t, "cut.tar", whole[:n])}); err == nil {
			t.Errorf("%d of %d bytes are imported as the whole", n, len(whole))
		}
	}
}
