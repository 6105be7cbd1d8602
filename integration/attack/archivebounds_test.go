package attack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// header writes a header with content of its own kind, which the library would not: a
// name or records that are overridden.
func header(kind byte, content string) []byte {
	padded := append([]byte(content), make([]byte, (512-len(content)%512)%512)...)
	return append(raw("././@LongLink", kind, fmt.Sprintf("%011o\x00", len(content)), ""), padded...)
}

// record is a record of a PAX header.
func record(key, value string) string {
	length := len(key) + len(value) + 3
	for total := 0; total != length; {
		total = length
		length = len(fmt.Sprint(total)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", length, key, value)
}

// All that an archive brings counts, not the contents of its files only.
func TestM09WhatCountsAgainstTheSize(t *testing.T) {
	const most = "4M"
	repeat := func(n int, e func(i int) entry) []byte {
		var list []entry
		for i := range n {
			list = append(list, e(i))
		}
		return tarOf(t, list...)
	}
	headers := func(kind byte, content string) []byte {
		first, last := tarOf(t, file("first", "x")), tarOf(t, file("last", "x"))
		return slices.Concat(first[:1024], bytes.Repeat(header(kind, content), 8), last) // without the first one's end
	}
	long := strings.Repeat("x", 3000)
	for what, data := range map[string][]byte{
		"what is kept to look for an index": tarOf(t, file("oci-layout", "{}"), file("blobs/sha256/zeros", strings.Repeat("\x00", 32<<20))),
		"extended attributes": repeat(2000, func(i int) entry {
			return with(file(fmt.Sprint(i), ""), func(h *tar.Header) {
				h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": long}
			})
		}),
		"targets of links":           repeat(3000, func(i int) entry { return symlink(fmt.Sprint(i), long) }),
		"directories without entry":  repeat(100, func(i int) entry { return file(fmt.Sprint(i, strings.Repeat("/d", 240)), "") }),
		"global headers":             headers('g', record("comment", strings.Repeat("c", 900<<10))),
		"names that are overridden":  headers('L', strings.Repeat("n", 900<<10)),
		"records that are":           headers('x', record("comment", strings.Repeat("c", 900<<10))),
		"what follows the end":       append(tarOf(t, file("f", "x")), make([]byte, 32<<20)...),
		"contents of files together": repeat(100, func(i int) entry { return file(fmt.Sprint(i), strings.Repeat("z", 64<<10)) }),
	} {
		store := overlayStore(t)
		refused(t, what, importInto(t, store, compressed(t, data), "--max-size", most), "more content")
		if left := kit.Snapshots(t, store); len(left) > 0 {
			t.Errorf("%s: %v is left", what, left)
		}
		if r := importInto(t, store, compressed(t, data), "--max-size", "512M"); strings.Contains(r.Err, "more content") {
			t.Errorf("%s, where there may be more: %+v", what, r)
		}
	}
}

// However long a path is, it costs as its length; and no directory is deeper than an
// image may have them.
func TestM10DeepPaths(t *testing.T) {
	store := overlayStore(t)
	deep := func(n int) string { return strings.Repeat("d/", n) }
	var many []entry
	for i := range 50 {
		many = append(many, file(fmt.Sprintf("%d/%sf", i, deep(240)), ""))
	}
	for _, c := range []struct {
		what string
		data []byte
		err  string
	}{
		{"2000 directories", tarOf(t, file(deep(2000)+"f", "x")), "name too long"},
		{"257 directories", tarOf(t, file(deep(257)+"f", "x")), "name too long"},
		{"256 directories", tarOf(t, file(deep(256)+"f", "x")), ""},
		{"256 directories, one after the other", tarOf(t, dirEntry(deep(128)), dirEntry(deep(256)), dirEntry(deep(257))), "name too long"},
		{"links that lead deeper", tarOf(t, dirEntry(deep(200)), symlink("l", deep(200)), file("l/"+deep(200)+"f", "x")), "name too long"},
		{"50 long paths", compressed(t, tarOf(t, many...)), ""},
	} {
		r := importInto(t, store, c.data)
		if c.err != "" {
			if refused(t, c.what, r, c.err); len(r.Err) > 1000 {
				t.Errorf("%s: told in %d bytes", c.what, len(r.Err))
			}
			continue
		}
		if r.Code != 0 {
			t.Errorf("%s: %+v", c.what, r)
		}
		kit.Succeed(t, "image", "remove", "--store", store, "attack")
	}
	if left := kit.Snapshots(t, store); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
