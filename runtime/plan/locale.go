package plan

import (
	"fmt"
	"slices"
	"strings"
)

// plainLocale is the one that every image has which has any, and is in the C library
// itself since glibc 2.35. Under it text is UTF-8, as under the caller's.
const plainLocale = "C.UTF-8"

// IsLocale tells whether a variable of the environment names a locale. (LANGUAGE names
// languages.)
func IsLocale(name string) bool { return name == "LANG" || strings.HasPrefix(name, "LC_") }

// AsksFor tells whether a request sets a variable to a value of its own.
func AsksFor(request []string, variable string) bool {
	return slices.ContainsFunc(request, func(entry string) bool { return strings.HasPrefix(entry, variable+"=") })
}

// setLocales has variables that name a locale which the image lacks name another.
func (p *Plan) setLocales(r Request, f Facts) {
	env := p.Spec.Process.Env
	var changed []string
	for i, entry := range env {
		name, locale, _ := strings.Cut(entry, "=")
		if IsLocale(name) && !AsksFor(r.Env, name) && slices.Contains(f.NoLocales, locale) {
			env[i] = name + "=" + plainLocale
			changed = append(changed, name)
		}
	}
	if changed != nil {
		p.note(fmt.Sprintf("the image has no locale %s: inside %s is %s",
			strings.Join(f.NoLocales, ", "), strings.Join(changed, ", "), plainLocale))
	}
}
