package rule

import (
	"slices"
	"strings"
)

// IsGlob tells whether an entry of Images stands for more than one name.
func IsGlob(entry string) bool { return strings.ContainsAny(entry, `*?[\`) }

// Names tells whether one of the rule's globs matches an image's name.
func (r *Rule) Names(image string) bool { return matchAny(r.Images, image) }

// ForAll tells whether the rule is for all users.
func (r *Rule) ForAll() bool { return len(r.Users) == 0 && len(r.Groups) == 0 }

// Hides tells whether a later rule is never asked since this one comes first: it is for
// every image and every user that the other is for. It may say no where only the globs'
// or the groups' meaning would tell.
func (r *Rule) Hides(later *Rule) bool {
	return r.hasUsersOf(later) && !slices.ContainsFunc(later.Images, func(entry string) bool { return !r.HasAll(entry) })
}

func (r *Rule) hasUsersOf(later *Rule) bool {
	isNoneOf := func(list []string) func(string) bool {
		return func(who string) bool { return !slices.Contains(list, who) }
	}
	return r.ForAll() || !later.ForAll() && !slices.ContainsFunc(later.Users, isNoneOf(r.Users)) && !slices.ContainsFunc(later.Groups, isNoneOf(r.Groups))
}

// HasAll tells whether the rule is for every image that an entry of Images stands for.
func (r *Rule) HasAll(entry string) bool {
	for _, own := range r.Images {
		if own == entry || own == "*" || !IsGlob(entry) && match(own, entry) {
			return true
		}
		// A glob that ends with its only star has all that begins as it does.
		if start, ok := strings.CutSuffix(own, "*"); ok && !IsGlob(start) && strings.HasPrefix(entry[:literal(entry)], start) {
			return true
		}
	}
	return false
}
