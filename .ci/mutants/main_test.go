package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// house is a module with a check and its test.
func house(t *testing.T, table string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":                "module house\n\ngo 1.26\n",
		"door/door.go":          "package door\n\nfunc Opens(key string) bool {\n\tif key == \"\" {\n\t\treturn false\n\t}\n\treturn key == \"right\"\n}\n",
		"door/door_test.go":     "package door\n\nimport \"testing\"\n\nfunc TestDoor(t *testing.T) {\n\tt.Run(\"the wrong key\", func(t *testing.T) {\n\t\tif Opens(\"wrong\") {\n\t\t\tt.Error(\"it opens\")\n\t\t}\n\t})\n}\n\nfunc TestBroken(t *testing.T) { t.Error(\"always\") }\n",
		"door/testdata/all.txt": table,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMutantIsMissedSurvivesOrIsAFaultOfItsTable(t *testing.T) {
	const right = "@ door/door.go\n- \treturn key == \"right\"\n"
	for name, c := range map[string]struct{ table, survivor, fault string }{
		"missed":              {"# a table\n\n# the key\n" + right + "+ \treturn true\n! TestDoor/the wrong key\n", "", ""},
		"survives":            {"# emptiness\n@ door/door.go\n- \tif key == \"\" {\n+ \tif false {\n! TestDoor/the wrong key\n", "1: emptiness (TestDoor/the wrong key): the test passes", ""},
		"does not build":      {right + "+ \treturn 1\n! TestDoor\n", "", "does not build"},
		"no such line":        {"@ door/door.go\n- \treturn true\n! TestDoor\n", "", "0 times"},
		"a line twice":        {"@ door/door.go\n- \t}\n- }\n! TestDoor\n", "", "0 times"},
		"a part of a line":    {"@ door/door.go\n- return false\n! TestDoor\n", "", "0 times"},
		"no such file":        {"@ door/gate.go\n- x\n! TestDoor\n", "", "no such file"},
		"no such test":        {right + "+ \treturn true\n! TestGate\n", "", "does not pass as it is"},
		"no such subtest":     {right + "+ \treturn true\n! TestDoor/no key\n", "", "does not pass as it is"},
		"a test that fails":   {right + "+ \treturn true\n! TestBroken\n", "", "does not pass as it is"},
		"no test":             {right + "+ \treturn true\n", "", "needs a file"},
		"something else":      {"? what\n", "", "begins with none"},
		"nothing":             {"# a table\n", "", "no mutant"},
		"the second at fault": {"# a\n" + right + "+ \treturn true\n! TestDoor\n\n@ door/door.go\n- none\n! TestDoor\n", "", "7: door/door.go has"},
	} {
		t.Run(name, func(t *testing.T) {
			house(t, c.table)
			mutants, faults := read("door/testdata/all.txt")
			var survivors []string
			if len(faults) == 0 {
				survivors, faults = try("door", mutants)
			}
			for got, want := range map[string]string{strings.Join(survivors, "\n"): c.survivor, strings.Join(faults, "\n") + " ": c.fault} {
				if strings.TrimSpace(got) == "" && want != "" || strings.TrimSpace(got) != "" && want == "" || !strings.Contains(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}
