package archive

import "mayfly/runtime/image/tree"

// maxSums limits the memory for sums: each takes about 100 bytes.
const maxSums = 250_000

// sums are the checksums of files' contents, by inode number. A file system gives the
// number of a removed file to a new one. So a sum must not outlive its file: an
// archive's author could otherwise choose the digest of the image.
type sums struct {
	byInode map[uint64]tree.Sum
	most    int
}

// note stores the sum of a new file. If there is no room for it, note removes the sum
// of an earlier file with the same number.
func (s *sums) note(inode uint64, sum tree.Sum) {
	s.forget(inode)
	if len(s.byInode) < s.most {
		s.byInode[inode] = sum
	}
}

// forget must be called before a file loses a name. If the file has other names, its
// content is read once more.
func (s *sums) forget(inode uint64) { delete(s.byInode, inode) }
