package plan

import (
	"fmt"
	"slices"
	"strings"
)

// plainLocale exists in every image that has locales, and in glibc itself since 2.35.
// Its text is UTF-8, as the caller's is.
const plainLocale = "C.UTF-8"

// IsLocale tells whether the value of an environment variable is a locale. (That of
// LANGUAGE is a list of languages.)
func IsLocale(name string) bool { return name == "LANG" || strings.HasPrefix(name, "LC_") }

// AsksFor tells whether a request sets a variable to a value of its own.
func AsksFor(request []string, variable string) bool {
	return slices.ContainsFunc(request, func(entry string) bool { return strings.HasPrefix(entry, variable+"=") })
}

// setLocales replaces locales that the image lacks in the environment, and notes that.
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
