package fdsclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	gotoken "go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fds-sdk/fds-go/"

// rooms are the packages out of which an application can take data.
var rooms = []string{"delivery", "fdsclient", "pull", "push"}

// isData are the types in which an owner's data, or what reads it, leaves the SDK.
var isData = map[string]bool{
	module + "fds.Item": true, module + "fds.Device": true, module + "fds.Space": true, module + "fds.Message": true, module + "fds.Tag": true,
	module + "delivery.Message": true, module + "pull.Client": true, module + "fdsclient.Token": true,
	"net/http.Response": true, "net/http.RoundTripper": true, "golang.org/x/oauth2.TokenSource": true, "golang.org/x/oauth2.Token": true,
}

// ways are all ways by which data leaves the SDK, each with the tests that show that it
// is under no owner's name but its own, in the folders of those tests.
var ways = map[string][]string{
	// Of one owner, with a token that may be that of several.
	"pull.Client.Items":               {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners", "fdsclient.TestAttackPullHoldsNoOtherOwnersItems"},
	"pull.Client.Specifications":      {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners", "fdsclient.TestAttackPullHoldsNoOtherOwnersItems"},
	"pull.Client.Statuses":            {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
	"pull.Client.Statistics":          {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
	"pull.Client.Diagnostics":         {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
	"pull.Client.Spaces":              {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
	"pull.Client.Events":              {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
	"pull.Client.EventSpecifications": {"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"},
}

// TestEveryWayByWhichDataLeavesHasItsIsolationTest fails where the exported API has a way
// that nobody has thought of, or the table one that is gone.
func TestEveryWayByWhichDataLeavesHasItsIsolationTest(t *testing.T) {
	found := waysOut(t)
	tests := make(map[string]map[string]bool)
	for _, way := range slices.Sorted(maps.Keys(found)) {
		if len(ways[way]) == 0 {
			t.Errorf("%s lets data out (%s) and has no isolation test: add one, and name it in the table", way, found[way])
		}
		for _, name := range ways[way] {
			room, test, _ := strings.Cut(name, ".")
			if tests[room] == nil {
				tests[room] = testsIn(t, room)
			}
			if !tests[room][test] {
				t.Errorf("%s: there is no %s in %s", way, test, room)
			}
		}
	}
	for way := range ways {
		if found[way] == "" {
			t.Errorf("%s is in the table, and lets no data out", way)
		}
	}
}

// waysOut reads the exported API: what returns data, and what calls a function of the
// application's with data.
func waysOut(t *testing.T) map[string]string {
	t.Helper()
	load := exports(t)
	found := make(map[string]string)
	add := func(name, why string) {
		if why != "" && found[name] == "" {
			found[name] = why
		}
	}
	for _, room := range rooms {
		scope := load(module + room).Scope()
		for _, name := range scope.Names() {
			object := scope.Lookup(name)
			if !object.Exported() {
				continue
			}
			switch object := object.(type) {
			case *types.Func:
				add(room+"."+name, outOfFunc(object.Signature()))
			case *types.Var:
				add(room+"."+name, dataIn(object.Type(), nil))
			case *types.TypeName:
				if object.IsAlias() {
					continue // found where it is defined
				}
				named := object.Type().(*types.Named)
				for method := range named.Methods() {
					if method.Exported() {
						add(room+"."+name+"."+method.Name(), outOfFunc(method.Signature()))
					}
				}
				switch under := named.Underlying().(type) {
				case *types.Struct:
					for field := range under.Fields() {
						if signature, ok := field.Type().Underlying().(*types.Signature); ok && field.Exported() {
							add(room+"."+name+"."+field.Name(), takes(signature))
						}
					}
				case *types.Interface:
					for method := range under.ExplicitMethods() {
						add(room+"."+name+"."+method.Name(), takes(method.Signature()))
					}
				}
			}
		}
	}
	return found
}

// outOfFunc returns how data leaves a function: as a result, or to a function that it is
// given; "": not at all.
func outOfFunc(s *types.Signature) string {
	for result := range s.Results().Variables() {
		if why := dataIn(result.Type(), nil); why != "" {
			return "returns " + why
		}
	}
	for parameter := range s.Params().Variables() {
		if of, ok := parameter.Type().Underlying().(*types.Signature); ok {
			if why := takes(of); why != "" {
				return "calls " + parameter.Name() + ", which " + why
			}
		}
	}
	return ""
}

// takes returns what data a function of the application's is given; "": none.
func takes(s *types.Signature) string {
	for parameter := range s.Params().Variables() {
		if why := dataIn(parameter.Type(), nil); why != "" {
			return "takes " + why
		}
	}
	return ""
}

// dataIn returns what data a value of the type holds, for whoever has it; "": none.
func dataIn(t types.Type, within []types.Type) string {
	for _, outer := range within {
		if types.Identical(outer, t) {
			return ""
		}
	}
	within = append(within, t)
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		object := t.Obj()
		if object.Pkg() == nil {
			return ""
		}
		if name := object.Pkg().Path() + "." + object.Name(); isData[name] {
			return name
		}
		for argument := range t.TypeArgs().Types() {
			if why := dataIn(argument, within); why != "" {
				return why
			}
		}
		if strings.HasPrefix(object.Pkg().Path(), module) {
			return dataIn(t.Underlying(), within)
		}
	case *types.TypeParam:
		return "any type"
	case *types.Pointer:
		return dataIn(t.Elem(), within)
	case *types.Slice:
		return dataIn(t.Elem(), within)
	case *types.Array:
		return dataIn(t.Elem(), within)
	case *types.Chan:
		return dataIn(t.Elem(), within)
	case *types.Map:
		return dataIn(t.Key(), within) + dataIn(t.Elem(), within)
	case *types.Signature: // an iterator
		for parameter := range t.Params().Variables() {
			if yield, ok := parameter.Type().Underlying().(*types.Signature); ok {
				if why := takes(yield); why != "" {
					return why
				}
			}
		}
	case *types.Struct:
		for field := range t.Fields() {
			if _, callback := field.Type().Underlying().(*types.Signature); field.Exported() && !callback {
				if why := dataIn(field.Type(), within); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

// exports loads packages from what the compiler made of them.
func exports(t *testing.T) func(path string) *types.Package {
	t.Helper()
	arguments := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, room := range rooms {
		arguments = append(arguments, module+room)
	}
	out, err := exec.CommandContext(t.Context(), "go", arguments...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %s", failed.Stderr)
		}
		t.Skipf("the exported API cannot be read without the go command: %v", err)
	}
	files := make(map[string]string)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one struct{ ImportPath, Export string }
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[one.ImportPath] = one.Export
	}
	imports := importer.ForCompiler(gotoken.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("nothing was built of %s", path)
		}
		return os.Open(files[path])
	})
	return func(path string) *types.Package {
		t.Helper()
		loaded, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsIn returns the tests in a folder of the module and those below it.
func testsIn(t *testing.T, room string) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join("..", room), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, found := range testFunc.FindAllSubmatch(data, -1) {
			tests[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
