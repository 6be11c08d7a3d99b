// Package floors holds the tests of the house as a whole: which package imports which, and that
// the pages in its root speak of what there is.
package floors

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/fds-sdk/fds-go/"

// floors are the rooms of the house from the ground up; a room is a folder of the module. A package
// may import packages of its own room and of lower floors. ARCHITECTURE.md says what each room is
// for.
var floors = [][]string{
	{"fds"},
	{"delivery"},
	{"internal"},
	{"tokenstore", "statestore", "pull", "push", "webhook", "brokerconfig"},
	{"fdsclient"},
	{"conformance"},
	{"cmd", "examples", "benchmarks", "docs"},
}

// What is for tests stands beside the house.
const (
	provider = "fdstest"           // imports fds alone: it shares no code with the client that it tests
	realtest = "internal/realtest" // imports nothing of ours
)

const whatToDo = `
The floors are in floors_test.go; ARCHITECTURE.md says what each room is for, and why it stands where it does. What two packages of
one floor share belongs below both; what a lower package needs of a higher one is passed to it.`

func TestAPackageImportsItsOwnRoomAndLowerFloors(t *testing.T) {
	imports, err := readImports(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if faults := check(imports); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n") + "\n" + whatToDo)
	}
	for _, room := range slices.Concat(slices.Concat(floors...), []string{provider, realtest}) {
		if !slices.ContainsFunc(imports, func(one anImport) bool { return within(one.from, room) }) {
			t.Errorf("there is no package in %s, which floors_test.go names", room)
		}
	}
}

func TestTheFloorsAllowWhatTheHouseIsBuiltOf(t *testing.T) {
	for _, one := range []anImport{
		{"push", "fds", false},
		{"push", "internal/tlspolicy", false},
		{"push", "push/internal/wire", false},
		{"internal/loopback", "internal/backoff", false},
		{"fdsclient", "tokenstore", false},
		{"fdsclient", "push", false},
		{"fdsclient", "fdsclient/internal/authserver", false},
		{"fdsclient/internal/authserver", "tokenstore", false},
		{"fdsclient/internal/authserver", "internal/backoff", false},
		{"fdsclient/internal/authserver", "fdsclient/internal/other", false},
		{"fdsclient/internal/authserver", "fdstest", true},
		{"cmd/fdsdemo", "fdsclient", false},
		{"cmd/fdsdemo", "fdstest", false},
		{"examples/server", "fdsclient", false},
		{"fdstest", "fds", false},
		{"fdstest", "fdstest/internal/broker", false},
		{"push", "fdstest", true},
		{"push", "internal/realtest", true},
		{"fds", "internal/realtest", true},
		{"fdstest", "internal/realtest", true},
	} {
		if why := one.forbidden(); why != "" {
			t.Errorf("%s may not import %s: %s", one.from, one.to, why)
		}
	}
}

func TestTheFloorsForbidWhatWouldBringTheHouseDown(t *testing.T) {
	for _, one := range []anImport{
		{"fds", "internal/backoff", false},
		{"fds", "push", false},
		{"internal/backoff", "push", false},
		{"push", "pull", false},
		{"tokenstore", "pull", true},
		{"brokerconfig", "push", true},
		{"pull", "fdsclient", false},
		{"pull", "fdsclient", true},
		{"fdsclient", "cmd/fdsdemo", false},
		{"fdsclient/internal/authserver", "fdsclient", false},
		{"fdsclient/internal/authserver", "fdsclient", true},
		{"fdsclient/internal/authserver", "fdsclient/other", false},
		{"fdsclient/internal/authserver", "cmd/fdsdemo", false},
		{"examples/server", "cmd/fdsdemo", false},
		{"push", "fdstest", false},
		{"fdsclient", "fdstest", false},
		{"fdstest", "push", false},
		{"fdstest", "push", true},
		{"fdstest", "internal/tlspolicy", false},
		{"fdstest/internal/broker", "internal/tlspolicy", false},
		{"push", "internal/realtest", false},
		{"internal/backoff", "internal/realtest", false},
		{"internal/realtest", "push", false},
		{"internal/realtest", "fds", true},
		{"push", "somewhere", false},
		{"garage", "fds", false},
	} {
		if one.forbidden() == "" {
			t.Errorf("%s may import %s (test: %v)", one.from, one.to, one.test)
		}
	}
}

func TestImportsAreThoseOfEverySystem(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("package x\n" + text)} }
	imports, err := readImports(fstest.MapFS{
		"fds/id.go":               file(`import "strings"; import "github.com/fds-sdk/fds-go/push"`),
		"fds/id_windows.go":       file(`import "github.com/fds-sdk/fds-go/pull"`),
		"fds/id_test.go":          file(`import "github.com/fds-sdk/fds-go/internal/realtest"`),
		"garage/car.go":           file(""),
		".ci/tool/main.go":        file(`import "github.com/fds-sdk/fds-go/push"`),
		"fds/testdata/program.go": file(`import "github.com/fds-sdk/fds-go/push"`),
		"other/go.mod":            {},
		"other/main.go":           file(`import "github.com/fds-sdk/fds-go/push"`),
		"main.go":                 file(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(check(imports), "\n")
	want := `fds imports pull: that is on a higher floor
fds imports push: that is on a higher floor
garage stands on no floor: give it one
the module's root has Go code, which belongs in a room`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// anImport is one of this module's packages by another. An import without to stands for a package
// that imports none.
type anImport struct {
	from, to string
	test     bool // in a test
}

// readImports parses every Go file, whatever system it is for.
func readImports(house fs.FS) ([]anImport, error) {
	var imports []anImport
	err := fs.WalkDir(house, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(house, name)
		}
		if path.Ext(name) != ".go" || path.Dir(name) == "." && strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(house, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
		imports = append(imports, anImport{from: from, test: test})
		for _, spec := range parsed.Imports {
			whole, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ours := strings.CutPrefix(whole, module); ours {
				imports = append(imports, anImport{from, to, test})
			}
		}
		return nil
	})
	return imports, err
}

// skip returns fs.SkipDir for the folders that hold no packages of this module.
func skip(house fs.FS, folder string) error {
	if folder == "." {
		return nil
	}
	base := path.Base(folder)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(house, path.Join(folder, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// check returns a line for each import that the floors forbid.
func check(imports []anImport) []string {
	var faults []string
	for _, one := range imports {
		switch {
		case one.from == ".":
			faults = append(faults, "the module's root has Go code, which belongs in a room")
		case one.to == "":
			if !within(one.from, realtest) && room(one.from) != provider && floorOf(room(one.from)) < 0 {
				faults = append(faults, one.from+" stands on no floor: give it one")
			}
		default:
			if why := one.forbidden(); why != "" {
				kind := "imports"
				if one.test {
					kind = "imports in a test"
				}
				faults = append(faults, fmt.Sprintf("%s %s %s: %s", one.from, kind, one.to, why))
			}
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// forbidden returns why the import must not be, or "" when it may.
func (one anImport) forbidden() string {
	from, to := room(one.from), room(one.to)
	switch {
	case within(one.to, realtest):
		if one.test || within(one.from, realtest) {
			return ""
		}
		return "only tests import it"
	case within(one.from, realtest):
		return "the real parts stand alone"
	case from == to:
		if inner := from + "/internal"; within(one.from, inner) && !within(one.to, inner) {
			return "an inner room imports nothing of the room around it"
		}
		return "" // also among the small packages of internal
	case from == provider:
		if one.to == "fds" {
			return ""
		}
		return "a provider shares no code with the client that it tests"
	case to == provider:
		if one.test || floorOf(from) == len(floors)-1 {
			return ""
		}
		return "below the top floor, only tests import it"
	case floorOf(from) < 0:
		return "the importing room stands on no floor"
	case floorOf(to) < 0:
		return "that room stands on no floor"
	case floorOf(to) > floorOf(from):
		return "that is on a higher floor"
	case floorOf(to) == floorOf(from):
		return "that is on the same floor"
	}
	return ""
}

// room returns a package's first path element.
func room(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// floorOf returns a room's floor from the ground, which is 0, or -1.
func floorOf(room string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, room) })
}
