package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/disk"
)

// extractDisk copies the root file system of a disk image, an open file of size bytes.
// The kernel mounts it.
func extractDisk(ctx context.Context, file *os.File, size int64, s Source, x *archive.Extractor) (Result, error) {
	if x.Here.Rootless() {
		return Result{}, errors.New("a disk image is mounted, which only root may: make an archive of its content")
	}
	part, err := disk.Root(file, size, s.Arch, image.HostArch())
	if err != nil {
		return Result{}, err
	}
	tree, err := disk.Mount(file, part)
	if err != nil {
		return Result{}, fmt.Errorf("mount partition %d: %w", part.Number, err)
	}
	defer tree.Close()
	top, err := unix.Openat(tree.FD(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(top)
	origin := "import of disk image " + absolute(s.Name)
	if part.Number != 0 {
		origin += fmt.Sprintf(", partition %d", part.Number)
	}
	return Result{Origin: origin}, x.ExtractTree(ctx, top)
}
