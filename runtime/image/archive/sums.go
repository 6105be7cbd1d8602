package archive

import "mayfly/runtime/image/tree"

// maxSums bounds the memory for sums: about 100 bytes each.
const maxSums = 250_000

// Sums of the contents of files, by inode number. A file system gives the number of a
// removed file to the next one: an archive's author who could have a sum outlive its
// file would choose the digest of the image.
type sums struct {
	byInode map[uint64]tree.Sum
	most    int
}

// note keeps the sum of a file that was just made. Where there is no room for one more,
// nothing is known of the file, nor of one before it that had its number.
func (s *sums) note(inode uint64, sum tree.Sum) {
	s.forget(inode)
	if len(s.byInode) < s.most {
		s.byInode[inode] = sum
	}
}

// forget is to be called before a file loses a name. It may have others: then its
// content is read once more.
func (s *sums) forget(inode uint64) { delete(s.byInode, inode) }
