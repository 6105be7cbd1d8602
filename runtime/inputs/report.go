package inputs

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/plan"
)

// A Report is what a run has opened, for programs and people.
type Report struct {
	Image    string   `json:"image"` // NAME@VERSION
	Digest   string   `json:"digest,omitempty"`
	Project  string   `json:"project"` // its directory inside
	Command  []string `json:"command"`
	Complete bool     `json:"complete"`
	Missed   []string `json:"missed,omitempty"` // why it is not complete
	Files    []File   `json:"files"`            // by path
	Packages []Used   `json:"packages"`         // of the image, by name
	// Installed is how many packages the image has.
	Installed int    `json:"packagesInstalled"`
	home      string // HOME inside
	asked     []string
}

// A File is a file that was opened.
type File struct {
	Path    string `json:"path"` // inside
	Of      string `json:"of"`
	Opened  int    `json:"opened"`            // how often
	Written int    `json:"written,omitempty"` // how often for writing
	Package string `json:"package,omitempty"`
	Gone    bool   `json:"gone,omitempty"` // see Count
}

// What a File is of.
const (
	OfImage   = "image"
	OfProject = "project"
	OfMachine = "machine" // a file that each container has of the host's
	OfHost    = "host"    // any other below a bind
)

// A Used is a package of which files were opened, or links to files that were.
type Used struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
}

// ofMachine are the files that a container has of the host's in any case.
var ofMachine = append([]string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/timezone"}, plan.HostFiles...)

// An About tells a report what the run was.
type About struct {
	Image, Digest, Project, Home string
	Command                      []string
	Asked                        []string // destinations of binds that the caller asked for
}

// NewReport makes the report of what was opened.
func NewReport(o Opened, a About) *Report {
	r := &Report{Image: a.Image, Digest: a.Digest, Project: a.Project, Command: a.Command, Complete: len(o.Missed) == 0, Missed: o.Missed,
		Files: []File{}, Packages: []Used{}, Installed: o.Installed, home: a.Home, asked: a.Asked}
	used := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(o.Files)) {
		c := o.Files[name]
		f := File{Path: name, Of: OfHost, Opened: c.Opened, Written: c.Written, Gone: c.Gone, Package: o.Packages[name]}
		switch {
		case a.Project != "/" && plan.Within(name, a.Project):
			f.Of = OfProject
		case o.Of[name] == plan.OfImage:
			f.Of = OfImage
		case slices.Contains(ofMachine, name):
			f.Of = OfMachine
		}
		r.Files = append(r.Files, f)
	}
	for _, name := range o.Packages {
		used[name]++
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		r.Packages = append(r.Packages, Used{name, used[name]})
	}
	return r
}

// read tells whether the file was opened for reading, as far as the counts tell: one
// that was opened for both counts as written.
func (f File) read() bool { return f.Opened > f.Written }

// Summary tells in a line what was used besides the project; "": nothing was.
func (r *Report) Summary() string {
	var parts []string
	if read := r.places(func(f File) bool { return f.read() }); read != "" {
		parts = append(parts, "read outside of the project: "+read)
	}
	if r.Installed > 0 {
		parts = append(parts, "image packages used: "+strconv.Itoa(len(r.Packages))+" of "+strconv.Itoa(r.Installed))
	}
	if written := r.places(func(f File) bool { return f.Written > 0 }); written != "" {
		parts = append(parts, "wrote outside of the project: "+written)
	}
	return strings.Join(parts, "; ")
}

// mostPlaces is how many places a summary names.
const mostPlaces = 8

// A group is a place with the files that were opened in it.
type group struct {
	name  string
	files int
}

// places names the places outside of the project and the image with files for which is
// holds, those with most files first.
func (r *Report) places(is func(File) bool) string {
	groups := map[string]*group{} // by the directory that keeps them together
	for _, f := range r.Files {
		if f.Of != OfHost || !is(f) {
			continue
		}
		top := r.top(f.Path)
		g := groups[top]
		if g == nil {
			groups[top] = &group{f.Path, 1}
			continue
		}
		for !plan.Within(f.Path, g.name) {
			g.name = path.Dir(g.name)
		}
		g.files++
	}
	list := slices.SortedFunc(maps.Values(groups), func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.files, a.files), cmp.Compare(a.name, b.name))
	})
	var names []string
	for i, g := range list {
		if i == mostPlaces {
			names = append(names, "and "+strconv.Itoa(len(list)-i)+" more places")
			break
		}
		name := g.name
		if rest, in := strings.CutPrefix(name, r.home+"/"); in && r.home != "" && r.home != "/" {
			name = "~/" + rest
		}
		if g.files > 1 {
			name += " (" + strconv.Itoa(g.files) + " files)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// top is the directory whose files are told together: a bind that the caller asked for,
// or what is directly in the home, or in the directory below the root.
func (r *Report) top(name string) string {
	for _, dir := range r.asked {
		if plan.Within(name, dir) {
			return dir
		}
	}
	above := ""
	if plan.Within(name, r.home) && r.home != "/" && r.home != "" {
		above = r.home
	} else if end := strings.IndexByte(name[1:], '/'); end >= 0 {
		above = name[:1+end]
	}
	rest := strings.TrimPrefix(name, above+"/")
	first, _, _ := strings.Cut(rest, "/")
	return path.Join(above, first)
}
