package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// Environment returns the environment of the image's configuration, as NAME=VALUE.
func (i *Image) Environment() ([]string, error) {
	if !i.recorded {
		return i.env, nil
	}
	data, err := i.readRecord()
	var r Record
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("environment of image %s: %w", i, err)
	}
	return r.Environment(), nil
}

// readRecord reads the whole record of an open version, from its beginning.
func (i *Image) readRecord() ([]byte, error) {
	if _, err := unix.Seek(i.record, 0, io.SeekStart); err != nil {
		return nil, err
	}
	return file.ReadFD(i.record, maxRecord)
}

// Environment returns the environment of the version's configuration.
func (r *Record) Environment() []string {
	if r.Config == nil {
		return nil
	}
	return r.Config.Env
}

// Environment returns the environment of the version from which the draft was made.
func (d *Draft) Environment() []string {
	return (&Record{Config: d.Config}).Environment()
}

// inherit returns was with the entries of set added or replaced.
func inherit(was, set map[string]string) map[string]string {
	if len(was) == 0 {
		return set
	}
	all := maps.Clone(was)
	maps.Copy(all, set)
	return all
}
