package runtime

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A room is one package of the map in docs/architecture.md.
type room struct {
	name    string
	imports []string
	any     bool // it may import whatever is below it
}

const module = "mayfly/"

// rooms reads the map: a line with the name of a room and what it is for, then one or
// more with the rooms that it imports.
func rooms(t *testing.T) []room {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n## The rooms\n")
	block, _, ended := strings.Cut(after, "\n## ")
	if !found || !ended {
		t.Fatal("docs/architecture.md has no map of the rooms")
	}
	var list []room
	for line := range strings.Lines(block) {
		line, is := strings.CutPrefix(line, "    ")
		fields := strings.Fields(line)
		switch {
		case !is || len(fields) == 0:
		case line[0] != ' ':
			list = append(list, room{name: fields[0]})
		default:
			r := &list[len(list)-1]
			for _, name := range fields {
				if name == "*" {
					r.any = true
				} else if name != "->" {
					r.imports = append(r.imports, name)
				}
			}
		}
	}
	return list
}

// A goPackage is what `go list` tells of one.
type goPackage struct {
	ImportPath, Name string
	Imports          []string
}

func listPackages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for d := json.NewDecoder(bufio.NewReader(bytes.NewReader(out))); d.More(); {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// nameOf is a package's name on the map: rooms below runtime leave that out.
func nameOf(path string) string {
	name := strings.TrimPrefix(path, module)
	return strings.TrimPrefix(name, "runtime/")
}

// The map is the import graph: every package is on it, it imports what stands there and
// nothing else, and all of that stands below it.
func TestTheMapOfTheRoomsIsTheImportGraph(t *testing.T) {
	list := rooms(t)
	index := map[string]int{}
	for i, r := range list {
		if _, twice := index[r.name]; twice {
			t.Errorf("%s is on the map twice", r.name)
		}
		index[r.name] = i
	}
	seen := map[string]bool{}
	for _, p := range listPackages(t, "../...") {
		name := nameOf(p.ImportPath)
		if strings.HasPrefix(name, "integration") || p.Name == "main" && name != "cmd/runtime" || name == "seccomp/internal/compile" || name == "nsexec/inside" {
			continue // no part of the program, but of its making and its tests
		}
		i, is := index[name]
		if !is {
			t.Errorf("%s is not on the map", name)
			continue
		}
		seen[name] = true
		var imports []string
		for _, path := range p.Imports {
			if strings.HasPrefix(path, module) {
				imports = append(imports, nameOf(path))
			}
		}
		slices.Sort(imports)
		for _, other := range imports {
			if below, is := index[other]; is && below <= i {
				t.Errorf("%s imports %s, which stands above it", name, other)
			}
		}
		wanted := slices.Clone(list[i].imports)
		slices.Sort(wanted)
		if !list[i].any && !slices.Equal(imports, wanted) {
			t.Errorf("%s imports %s; the map says %s", name, imports, wanted)
		}
	}
	for _, r := range list {
		if !seen[r.name] {
			t.Errorf("%s is on the map, and no package", r.name)
		}
	}
}

// systemCalls are packages by which a package can ask something of the system.
var systemCalls = []string{"os", "os/exec", "os/signal", "os/user", "syscall", "net", "unsafe", "io/ioutil", "path/filepath",
	"golang.org/x/sys/unix", "golang.org/x/term"}

// The plan of a launch is decided by packages of this project that cannot ask the
// system: none of them imports what makes system calls. (Package fmt does, to print,
// and the words of the OCI specification for the type of a mode.)
func TestThePlanMakesNoSystemCalls(t *testing.T) {
	var others []string
	for _, p := range listPackages(t, "-deps", "./plan") {
		switch {
		case strings.HasPrefix(p.ImportPath, module):
			for _, path := range p.Imports {
				if slices.Contains(systemCalls, path) {
					t.Errorf("%s imports %s", p.ImportPath, path)
				}
			}
		case strings.Contains(strings.Split(p.ImportPath, "/")[0], "."):
			others = append(others, p.ImportPath)
		}
	}
	if want := []string{"github.com/opencontainers/runtime-spec/specs-go", "github.com/pelletier/go-toml/v2/internal/parserbridge",
		"github.com/pelletier/go-toml/v2/unstable"}; fmt.Sprint(others) != fmt.Sprint(want) {
		t.Errorf("the plan is made with %s, want %s", others, want)
	}
}

// The door has little room.
func TestTheDoorIsSmall(t *testing.T) {
	lines := 0
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			text, err := os.ReadFile(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(text, []byte("\n"))
		}
	}
	if lines == 0 || lines >= 400 {
		t.Errorf("package runtime has %d lines: what does the work belongs into a room", lines)
	}
}
