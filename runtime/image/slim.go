package image

import (
	"maps"
	"slices"
	"strings"
)

// Least returns the fewest of some installed packages from whose dependencies all of
// them follow: those that a recipe has to name. What every system has needs no name.
func Least(installed []Package, used []string) []string {
	g := graphOf(installed)
	there := map[string]bool{} // with every system
	for _, p := range installed {
		if p.Needed {
			g.reach(p.Name, there)
		}
	}
	left := map[string]bool{}
	for _, name := range used {
		if _, known := g.depends[name]; known && !there[name] {
			left[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if !left[name] { // another brings it
			continue
		}
		brings := map[string]bool{}
		g.reach(name, brings)
		for other := range brings {
			if other != name {
				delete(left, other)
			}
		}
	}
	return slices.Sorted(maps.Keys(left))
}

// A graph has the dependencies of installed packages. Of alternatives it has those that
// are installed.
type graph struct{ depends map[string][]string }

func graphOf(installed []Package) graph {
	provided := map[string][]string{}
	for _, p := range installed {
		for _, name := range append(namesIn(p.Provides), p.Name) {
			provided[name] = append(provided[name], p.Name)
		}
	}
	g := graph{map[string][]string{}}
	for _, p := range installed {
		list := []string{}
		for _, name := range namesIn(p.Depends) {
			list = append(list, provided[name]...)
		}
		g.depends[p.Name] = append(g.depends[p.Name], list...)
	}
	return g
}

// reach adds a package and all that it depends on.
func (g graph) reach(name string, found map[string]bool) {
	next := []string{name}
	for len(next) > 0 {
		name, next = next[len(next)-1], next[:len(next)-1]
		if !found[name] {
			found[name] = true
			next = append(next, g.depends[name]...)
		}
	}
}

// namesIn lists the packages in the value of a field such as Depends, without versions
// and architectures.
func namesIn(field string) (names []string) {
	for _, one := range strings.FieldsFunc(field, func(c rune) bool { return c == ',' || c == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(one), " ")
		name, _, _ = strings.Cut(name, ":")
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
