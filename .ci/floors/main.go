// Command floors checks which package of this module imports which: lower floors never import
// higher ones, the rooms of one floor do not import one another, and what is for tests stays in
// tests. It reads `go list -json` on standard input; an argument names the module. It prints each
// fault and ends with status 1 when there is one.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// floors are the rooms from the ground up. Each may import the rooms of lower floors.
var floors = [][]string{
	{"fds"},
	{"delivery"},
	{"internal"},
	{"tokenstore", "statestore", "pull", "push"},
	{"fdsclient"},
	{"conformance"},
	{"cmd", "examples", "benchmarks"},
}

const (
	provider = "fdstest"           // shares no code with the client that it tests
	realtest = "internal/realtest" // for tests only
)

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go list -json ./... | floors MODULE")
		os.Exit(2)
	}
	packages, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "floors:", err)
		os.Exit(2)
	}
	faults := check(os.Args[1], packages)
	for _, fault := range faults {
		fmt.Println(fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Printf("floors: %d packages, every import is allowed\n", len(packages))
}

func read(from io.Reader) ([]listed, error) {
	var packages []listed
	for decoder := json.NewDecoder(from); ; {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, one)
	}
	if len(packages) == 0 {
		return nil, errors.New("no package on standard input")
	}
	return packages, nil
}

// check names every import that the floors forbid.
func check(module string, packages []listed) []string {
	var faults []string
	for _, one := range packages {
		from := strings.TrimPrefix(strings.TrimPrefix(one.ImportPath, module), "/")
		if from == "" {
			faults = append(faults, "the module's root holds a package: it has no floor")
			continue
		}
		if strings.HasPrefix(from, ".") {
			continue // the checks themselves
		}
		if from != realtest && room(from) != provider && floorOf(room(from)) < 0 {
			faults = append(faults, from+": its room has no floor; give it one in .ci/floors")
			continue
		}
		look := func(imports []string, test bool) {
			for _, path := range imports {
				to, ours := strings.CutPrefix(path, module+"/")
				if !ours {
					continue
				}
				if why := forbidden(from, to, test); why != "" {
					kind := "imports"
					if test {
						kind = "imports in a test"
					}
					faults = append(faults, fmt.Sprintf("%s %s %s: %s", from, kind, to, why))
				}
			}
		}
		look(one.Imports, false)
		look(one.TestImports, true)
		look(one.XTestImports, true)
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// forbidden says why a package must not import another one, or "" when it may.
func forbidden(from, to string, test bool) string {
	if within(to, realtest) {
		if test || within(from, realtest) {
			return ""
		}
		return "only tests import it"
	}
	fromRoom, toRoom := room(from), room(to)
	switch {
	case within(from, realtest):
		return "the real parts stand alone"
	case fromRoom == toRoom:
		if inner := fromRoom + "/internal"; within(from, inner) && !within(to, inner) {
			return "an inner room imports nothing of the room around it"
		}
		return "" // also among the small packages of internal
	case fromRoom == provider:
		if to == "fds" {
			return ""
		}
		return "a provider shares no code with the client that it tests"
	case toRoom == provider:
		if test || floorOf(fromRoom) == len(floors)-1 {
			return ""
		}
		return "below the top floor, only tests import it"
	case floorOf(toRoom) < 0:
		return "that room has no floor"
	case floorOf(toRoom) > floorOf(fromRoom):
		return "it is on a higher floor"
	case floorOf(toRoom) == floorOf(fromRoom):
		return "it is on the same floor"
	}
	return ""
}

// room is a package's first path element.
func room(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func floorOf(room string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, room) })
}
