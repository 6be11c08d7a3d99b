package fdsclient_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rooms are the packages out of which an application can take data.
var rooms = []string{"delivery", "fdsclient", "pull", "push"}

// ways are all ways by which data leaves the SDK, each with the tests that show that it
// is under no owner's name but its own, in the folders of those tests.
var ways = map[string][]string{}

// TestEveryWayByWhichDataLeavesHasItsIsolationTest fails where the exported API has a way
// that nobody has thought of, or the table one that is gone.
func TestEveryWayByWhichDataLeavesHasItsIsolationTest(t *testing.T) {
	found := waysOut(exports(t, rooms), rooms)
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
