package survey

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/plan"
)

// localeDirectory has glibc's locales, each as a directory or all in an archive. Other
// C libraries, such as musl, take any name: nothing is said about an image without this
// directory.
const localeDirectory = "/usr/lib/locale"

// findLocales finds the locales that the environment names and the image does not have.
func (f *finder) findLocales(inside mount.Root, r plan.Request, env []string) {
	if plan.Value(env, "LOCPATH") != "" || plan.Value(env, "LOCALE_ARCHIVE") != "" || f.Covers(r, localeDirectory) {
		return // locales are elsewhere, or on a bind
	}
	known := map[string]bool{"": true, "C": true, "POSIX": true, "C.UTF-8": true, "C.utf8": true}
	for _, entry := range env {
		name, locale, _ := strings.Cut(entry, "=")
		if !plan.IsLocale(name) || plan.AsksFor(r.Env, name) || known[locale] {
			continue
		}
		known[locale] = true
		if !hasLocale(inside, locale) {
			f.NoLocales = append(f.NoLocales, locale)
		}
	}
}

// hasLocale tells whether an image has a locale, or cannot be known to lack it.
func hasLocale(inside mount.Root, locale string) bool {
	if strings.Contains(locale, "/") || locale[0] == '.' || !has(inside, localeDirectory) {
		return true
	}
	names := localeNames(locale)
	for _, name := range names {
		if has(inside, path.Join(localeDirectory, name)) {
			return true
		}
	}
	archive, told := localeArchive(inside)
	return !told || slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(archive, []byte("\x00"+name+"\x00")) })
}

// localeNames returns the names by which glibc finds a locale
// language[_territory][.codeset][@modifier]: the modifier or the territory may be left
// out.
func localeNames(locale string) []string {
	rest, modifier := cutFrom(locale, "@")
	rest, codeset := cutFrom(rest, ".")
	language, territory := cutFrom(rest, "_")
	codesets := []string{codeset}
	if codeset != "" {
		codesets = append(codesets, "."+normalized(codeset))
	}
	var names []string
	for _, t := range []string{territory, ""} {
		for _, c := range codesets {
			for _, m := range []string{modifier, ""} {
				if name := language + t + c + m; !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// cutFrom cuts a text before a separator, which stays with the second part.
func cutFrom(text, separator string) (before, from string) {
	if i := strings.Index(text, separator); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// normalized returns a codeset as it is in glibc's names: utf8, iso885915.
func normalized(codeset string) string {
	digits := true
	letters := strings.Map(func(c rune) rune {
		switch {
		case c >= '0' && c <= '9':
			return c
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			digits = false
			return c | 0x20
		}
		return -1
	}, codeset)
	if digits {
		return "iso" + letters
	}
	return letters
}

const (
	// archiveMagic begins a locale-archive of a little-endian machine.
	archiveMagic = 0xde020109
	// maxArchiveNames bounds the size of its table of names, in bytes: all locales of
	// glibc take 13,000.
	maxArchiveNames = 1 << 18
)

// localeArchive reads the names in an image's locale-archive, with a NUL before and
// after each. told is false if it cannot be read; an archive that does not exist has no
// names.
func localeArchive(inside mount.Root) (names []byte, told bool) {
	fd, err := inside.OpenRegular(localeDirectory + "/locale-archive")
	if err == unix.ENOENT {
		return nil, true
	}
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	// struct locarhead: magic, serial; offset, used and size of the table of names; the
	// same of the names.
	var head [8 * 4]byte
	if n, err := unix.Pread(fd, head[:], 0); err != nil || n < len(head) || binary.LittleEndian.Uint32(head[:]) != archiveMagic {
		return nil, false
	}
	at, size := binary.LittleEndian.Uint32(head[5*4:]), binary.LittleEndian.Uint32(head[6*4:])
	if size > maxArchiveNames {
		return nil, false
	}
	names = make([]byte, size)
	if n, err := unix.Pread(fd, names, int64(at)); err != nil || n < len(names) {
		return nil, false
	}
	return slices.Concat([]byte{0}, names, []byte{0}), true
}
