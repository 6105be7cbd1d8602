package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/oci"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

// currentLink is the symbolic link to the current version, which launches use.
const currentLink = "current"

// currentDraft is the name of a new link before it replaces another.
const currentDraft = ".current"

// privateRecord is the mode of the record of a version that several containers must not
// mount at the same time: a FIFO in it would connect them. A launch checks the mode
// without reading the record.
const privateRecord = 0o400

// withEnvironment is a bit in the mode of the record of a version with an environment.
// A launch reads the record only then.
const withEnvironment = 0o100

// maxRecord is the size limit of a version's record, in bytes, for writing and reading.
const maxRecord = 4 << 20

// A Record describes a version. It is written when the version is sealed. The
// modification time of its file is the time of the version's last use, to the hour.
type Record struct {
	Version int               `json:"version"`
	Created time.Time         `json:"created"`
	Origin  string            `json:"origin"`           // how the version was made, for people
	Parent  string            `json:"parent,omitempty"` // digest of the version that it was made from
	Digest  string            `json:"digest"`           // of the content, see package tree
	Arch    string            `json:"arch,omitempty"`   // Debian's name
	Files   int64             `json:"files"`
	Bytes   int64             `json:"bytes"` // allocated, shared ones included
	FIFOs   int64             `json:"fifos,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Recipe  string            `json:"recipe,omitempty"` // the file that it was created from
	Config  *oci.Settings     `json:"config,omitempty"` // of the image that it was imported from
}

func recordName(version int) string { return strconv.Itoa(version) + ".json" }

// current returns the number of the current version.
func current(dir int) (int, error) { return follow(dir, currentLink) }

// follow returns the number of the version to which a link leads.
func follow(dir int, link string) (int, error) {
	var target [16]byte
	n, err := unix.Readlinkat(dir, link, target[:])
	if err != nil {
		return 0, err
	}
	version, ok := ref.ParseVersion(string(target[:n]))
	if !ok {
		return 0, fmt.Errorf("the link %s leads to %q, want a version's number", link, target[:n])
	}
	return version, nil
}

// setCurrent makes a version current. The caller has the image's turn.
func setCurrent(dir, version int) error { return lead(dir, currentLink, version) }

// lead makes a link lead to a version, in one step: rename(2). The caller has the
// image's turn.
func lead(dir int, link string, version int) error {
	if err := unix.Unlinkat(dir, currentDraft, 0); err != nil && err != unix.ENOENT {
		return err
	}
	if err := unix.Symlinkat(strconv.Itoa(version), dir, currentDraft); err != nil {
		return fmt.Errorf("make the link to version %d: %w", version, err)
	}
	if err := unix.Renameat(dir, currentDraft, dir, link); err != nil {
		return fmt.Errorf("make %s version %d: %w", strings.TrimPrefix(link, tagPrefix), version, err)
	}
	return nil
}

// writeRecord writes a version's record, completely or not at all.
func writeRecord(dir int, r Record) error {
	data, err := encodeRecord(r)
	if err != nil {
		return err
	}
	mode := uint32(0o600)
	if r.FIFOs > 0 {
		mode = privateRecord
	}
	if r.Config != nil && len(r.Config.Env) > 0 {
		mode |= withEnvironment
	}
	fd, err := file.Nameless(dir, mode)
	if err != nil {
		return fmt.Errorf("make a record: %w", err)
	}
	record := os.NewFile(uintptr(fd), recordName(r.Version))
	defer record.Close()
	if _, err := record.Write(data); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	// The time of the file is that of the last use: there was none.
	if err := unix.UtimesNanoAt(fd, "", []unix.Timespec{{}, {}}, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	if err := record.Sync(); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	if err := file.Name(fd, dir, recordName(r.Version)); err != nil {
		return fmt.Errorf("name the record: %w", err)
	}
	return nil
}

// encodeRecord encodes a record. It refuses one that could not be read again.
func encodeRecord(r Record) ([]byte, error) {
	var data bytes.Buffer
	text := json.NewEncoder(&data)
	text.SetEscapeHTML(false) // which would make six bytes of one
	text.SetIndent("", "  ")
	if err := text.Encode(exact.Value(r)); err != nil {
		return nil, err
	}
	if data.Len() > maxRecord {
		return nil, fmt.Errorf("the record would be %d bytes, the most is %d: the recipe, the labels or the configuration are too long", data.Len(), maxRecord)
	}
	return data.Bytes(), nil
}

// readRecord reads a version's record, and the time of the version's last use.
func readRecord(dir, version int) (r Record, used time.Time, err error) {
	fd, err := unix.Openat(dir, recordName(version), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return r, used, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return r, used, err
	}
	data, err := file.ReadFD(fd, maxRecord)
	if err == nil {
		err = exact.Unmarshal(data, &r)
	}
	if err != nil {
		return r, used, fmt.Errorf("record of version %d: %w", version, err)
	}
	if used = time.Unix(st.Mtim.Unix()); used.Before(r.Created) { // writeRecord's: never
		used = time.Time{}
	}
	return r, used, nil
}

// digestLine starts the line of a record's text that has the digest. Only a key of the
// record itself can be at the beginning of a line with this indentation: strings in
// JSON have no line breaks.
const digestLine = "\n  \"digest\": \""

// Digest returns the digest in an open version's record; "" for a plain image. It
// searches the record's text instead of parsing it, which would slow down each launch.
func (i *Image) Digest() string {
	if i.record < 0 {
		return ""
	}
	var beginning [4096]byte
	n, err := unix.Pread(i.record, beginning[:], 0)
	if err != nil {
		return ""
	}
	digest, found := digestIn(beginning[:n])
	if !found && n == len(beginning) {
		data, _ := i.readRecord()
		digest, _ = digestIn(data)
	}
	return digest
}

func digestIn(record []byte) (string, bool) {
	_, rest, _ := bytes.Cut(record, []byte(digestLine))
	digest, _, found := bytes.Cut(rest, []byte(`"`))
	return string(digest), found
}

// usedAgain is the age from which on the time of a version's last use is updated.
const usedAgain = time.Hour

// Used updates the time of the version's last use, if it is older than an hour. It
// writes to the store's file system and may wait for a commit, so a launch calls it
// while its command runs.
func (i *Image) Used() error {
	if i.record < 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(i.record, &st); err != nil {
		return err
	}
	if time.Since(time.Unix(st.Mtim.Unix())) < usedAgain {
		return nil
	}
	now := unix.Timespec{Nsec: unix.UTIME_NOW}
	return unix.UtimesNanoAt(i.record, "", []unix.Timespec{now, now}, unix.AT_EMPTY_PATH)
}

// versions lists the numbers of an image's versions: those with a record and a root
// file system.
func versions(dir int) ([]int, error) {
	list, err := entries(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	records, roots := map[int]bool{}, map[int]bool{}
	for _, entry := range list {
		text, record := strings.CutSuffix(entry.Name(), ".json")
		if n, ok := ref.ParseVersion(text); ok && record {
			records[n] = true
		} else if ok {
			roots[n] = true
		}
	}
	var found []int
	for n := range records {
		if roots[n] {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found, nil
}

// highest returns the highest version number in the image's directory, also of
// incomplete versions.
func highest(dir int) (int, error) {
	list, err := entries(dir, ".")
	if err != nil {
		return 0, fmt.Errorf("list versions: %w", err)
	}
	most := 0
	for _, entry := range list {
		if n, ok := ref.ParseVersion(strings.TrimSuffix(entry.Name(), ".json")); ok {
			most = max(most, n)
		}
	}
	return most, nil
}

// changeImage opens the directory of an image that has versions, and takes its turn: no
// other process changes it meanwhile. The caller must close it, which ends the turn.
func (s *Store) changeImage(name string) (int, error) {
	dir, err := s.openVersions(name)
	if err != nil {
		return -1, err
	}
	if err = lock.Turn(dir); err == nil {
		err = s.checkThere(name, dir)
	}
	if err != nil {
		unix.Close(dir)
		return -1, fmt.Errorf("change image %s: %w", name, err)
	}
	return dir, nil
}

// openVersions opens the directory of an image that has versions.
func (s *Store) openVersions(name string) (int, error) {
	dir, plain, err := s.openImage(name)
	if err != nil {
		return -1, err
	}
	if plain {
		unix.Close(dir)
		return -1, fmt.Errorf("image %s: %w: `runtime image import NEW %s` makes an image with versions of it",
			name, ErrPlain, s.Path+"/"+name)
	}
	return dir, nil
}

// checkThere returns an error if an open image has been moved away.
func (s *Store) checkThere(name string, dir int) error {
	there, err := stillThere(s.fd, name, dir)
	if err == nil && !there {
		err = s.unknown(ref.Reference{Name: name})
	}
	return err
}
