package image

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// partitioned makes a disk image with a GPT and the file as its second partition, of
// the type root-x86-64.
func partitioned(t *testing.T, name, content string) {
	t.Helper()
	data, err := os.ReadFile(content)
	kit.Must(t, err)
	disk := append(make([]byte, 2<<20), data...)
	header, entry := disk[512:], disk[2*512+128:]
	copy(header, "EFI PART")
	binary.LittleEndian.PutUint64(header[72:], 2)
	binary.LittleEndian.PutUint32(header[80:], 128)
	binary.LittleEndian.PutUint32(header[84:], 128)
	copy(entry, "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09")
	binary.LittleEndian.PutUint64(entry[32:], 4096)
	binary.LittleEndian.PutUint64(entry[40:], uint64(len(disk)/512-1))
	kit.Must(t, os.WriteFile(name, disk, 0o644))
}

// systemd-nspawn: --image= and mkosi's .raw images; machinectl: import-raw.
func TestADiskImage(t *testing.T) {
	s, work := newOverlay(t), t.TempDir()
	dir := tree(t, program+"echo text >srv/what; chown 12:34 srv/what; chmod 4750 srv/what; ln srv/what srv/hard; mknod srv/null c 1 3; setfattr -n user.note -v value srv/what")
	s.succeed(t, "image", "import", "dir", dir)
	for name, script := range map[string]string{
		"ext4":     "mkfs.ext4 -q -d $1 $2 32M; debugfs -w -R 'rmdir lost+found' $2 2>/dev/null",
		"panics":   "mkfs.ext4 -q -e panic -d $1 $2 32M; debugfs -w -R 'rmdir lost+found' $2 2>/dev/null",
		"ext2":     "mke2fs -q -t ext2 -d $1 $2 32M; debugfs -w -R 'rmdir lost+found' $2 2>/dev/null",
		"btrfs":    "truncate -s 300M $2; mkfs.btrfs -q --shrink -r $1 $2",
		"squashfs": "mksquashfs $1 $2 -quiet -no-progress",
	} {
		file := filepath.Join(work, name+".img")
		kit.Command(t, "sh", "-ec", script, "sh", dir, file)
		raw := filepath.Join(work, name+".raw")
		partitioned(t, raw, file)
		for kind, source := range map[string]string{"whole": file, "partition": raw} {
			s.succeed(t, "image", "import", "one", source)
			out := s.succeed(t, "image", "diff", "dir", "one")
			for line := range strings.Lines(out) {
				if !strings.Contains(line, "time") { // which the programs that make file systems do not all keep
					t.Errorf("%s, %s: %s", name, kind, line)
				}
			}
			s.succeed(t, "image", "remove", "one")
		}
	}
	kit.Eventually(t, "no loop device is left", func() bool {
		out, err := exec.Command("losetup", "--list", "--noheadings", "--output", "BACK-FILE").Output()
		return err == nil && !strings.Contains(string(out), work)
	})
	s.clean(t)
}

// machinectl: images that are plain directories or .raw files; virt-builder, qemu:
// qcow2.
func TestWhatIsNoArchiveIsToldApart(t *testing.T) {
	s, work := newOverlay(t), t.TempDir()
	disk, qcow := filepath.Join(work, "disk"), filepath.Join(work, "x.qcow2")
	kit.Command(t, "sh", "-ec", "mkfs.ext4 -q $1 8M; qemu-img convert -O qcow2 $1 $2; printf 'QFI' >$3; gzip -c $1 >$1.gz", "sh", disk, qcow, filepath.Join(work, "short.raw"))
	s.refuse(t, "a file that is named .raw", "image", "import", "one", disk)
	s.refuse(t, "a file that is named .raw", "image", "import", "one", disk+".gz")
	s.refuse(t, "qemu-img convert -O raw", "image", "import", "one", qcow)
	kit.Must(t, os.Rename(qcow, qcow+".raw"))
	s.refuse(t, "qemu-img convert -O raw", "image", "import", "one", qcow+".raw")
	const nothing = "it holds neither a partition table nor a file system that is known: ext4,"
	s.refuse(t, nothing, "image", "import", "one", filepath.Join(work, "short.raw"))
	for name, size := range map[string]int{"none": 0, "blank": 1 << 20} {
		for suffix, text := range map[string]string{".raw": nothing, ".img": nothing, ".tar": "not an archive: it is empty, or of zeros only"} {
			kit.Must(t, os.WriteFile(filepath.Join(work, name+suffix), make([]byte, size), 0o644))
			s.refuse(t, text, "image", "import", "one", filepath.Join(work, name+suffix))
		}
	}
	kit.Command(t, "sh", "-ec", `tar -c -C / etc/passwd | head -c 300 >$1`, "sh", filepath.Join(work, "cut.tar"))
	s.refuse(t, "not an archive: it ends too early", "image", "import", "one", filepath.Join(work, "cut.tar"))
	empty := filepath.Join(work, "empty")
	kit.Must(t, os.WriteFile(empty, make([]byte, 8<<20), 0o644))
	partitioned(t, filepath.Join(work, "empty.raw"), empty)
	s.refuse(t, "mount partition 2: it holds no ext4", "image", "import", "one", filepath.Join(work, "empty.raw"))
	kit.Command(t, "cp", disk, filepath.Join(s.path, "machine.raw"))
	s.refuse(t, "`runtime image import machine "+s.path+"/machine.raw`", "run", "machine", "true")
	kit.Must(t, os.Remove(filepath.Join(s.path, "machine.raw")))
	b := store{kit.NewStore(t), true}
	kit.Must(t, os.Mkdir(filepath.Join(b.path, "directory"), 0o755))
	b.refuse(t, "`runtime image import NEW "+b.path+"/directory`", "run", "directory", "true")
	kit.Must(t, os.Remove(filepath.Join(b.path, "directory")))
	s.clean(t)
}
