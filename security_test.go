package floors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// SECURITY.md promises nothing without the tests that prove it, named as `package: TestName`.

// proof is a test that proves what the page says.
type proof struct{ folder, test string }

func (p proof) String() string { return p.folder + ": " + p.test }

var (
	aProof  = regexp.MustCompile("`([a-z0-9_./]+): ((?:Test|Fuzz)[A-Z]\\w*)`")
	aTest   = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	aDuty   = regexp.MustCompile(`(?m)^\| ([WM]\d+) \|(.*)\|$`)
	section = regexp.MustCompile(`(?m)^## `)
)

func proofsIn(text string) (proofs []proof) {
	for _, m := range aProof.FindAllStringSubmatch(text, -1) {
		proofs = append(proofs, proof{m[1], m[2]})
	}
	return proofs
}

// sectionOf returns what stands below a heading of the second level.
func sectionOf(page, heading string) string {
	for _, part := range section.Split(page, -1) {
		if text, ok := strings.CutPrefix(part, heading+"\n"); ok {
			return text
		}
	}
	return ""
}

// guaranteesOf returns the items of the lists in a section.
func guaranteesOf(text string) (items []string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "- "):
			items = append(items, line)
		case strings.HasPrefix(line, "  ") && len(items) > 0:
			items[len(items)-1] += line
		}
	}
	return items
}

// faultsOf says what is wrong with the page, given the tests that there are.
func faultsOf(page string, tests map[proof]string) (faults []string) {
	guarantees := guaranteesOf(sectionOf(page, "Guarantees"))
	if len(guarantees) < 10 {
		faults = append(faults, fmt.Sprintf("only %d guarantees", len(guarantees)))
	}
	for _, g := range guarantees {
		if len(proofsIn(g)) == 0 {
			first, _, _ := strings.Cut(g, "\n")
			faults = append(faults, "no test proves: "+first)
		}
	}
	for _, p := range proofsIn(page) {
		if _, ok := tests[p]; !ok {
			faults = append(faults, "there is no "+p.String())
		}
		if p.folder == "." {
			faults = append(faults, p.String()+" is a test of the house, which would run itself")
		}
	}
	if whole, named := len(proofsIn(page)), len(aTest.FindAllString(page, -1)); whole != named {
		faults = append(faults, fmt.Sprintf("%d tests are named, %d of them as `package: TestName`", named, whole))
	}
	rows := map[string]int{}
	for _, m := range aDuty.FindAllStringSubmatch(sectionOf(page, "Requirements, and whose duty they are"), -1) {
		rows[m[1]]++
		for _, cell := range strings.Split(m[2], "|") {
			if strings.TrimSpace(cell) == "" {
				faults = append(faults, m[1]+" has an empty cell")
			}
		}
	}
	for _, all := range []struct {
		kind string
		most int
	}{{"W", 10}, {"M", 8}} {
		for n := range all.most {
			if name := fmt.Sprint(all.kind, n+1); rows[name] != 1 {
				faults = append(faults, fmt.Sprintf("%s has %d rows", name, rows[name]))
			}
		}
	}
	return faults
}

// testsOf returns the tests of all packages, each with the file that has it.
func testsOf(house fs.FS) (map[proof]string, error) {
	tests := map[proof]string{}
	err := fs.WalkDir(house, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(house, name)
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(house, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declared := range parsed.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name != "TestMain" && aTest.MatchString(f.Name.Name) {
				tests[proof{path.Dir(name), f.Name.Name}] = name
			}
		}
		return nil
	})
	return tests, err
}

func securityPage(t *testing.T) (page string, tests map[proof]string) {
	t.Helper()
	tests, err := testsOf(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	return pages(t)["SECURITY.md"], tests
}

func TestEveryGuaranteeOfSecurityNamesTestsThatExist(t *testing.T) {
	for _, fault := range faultsOf(securityPage(t)) {
		t.Errorf("SECURITY.md: %s", fault)
	}
}

func TestAPageThatPromisesWithoutProofIsAtFault(t *testing.T) {
	page, tests := securityPage(t)
	some := proofsIn(page)[0]
	_, after, _ := strings.Cut(page, "\n- ")
	first, _, _ := strings.Cut(after, "\n")
	without := maps.Clone(tests)
	delete(without, some)
	for name, c := range map[string]struct {
		page  string
		tests map[proof]string
		fault string
	}{
		"a test was renamed":     {page, without, "there is no " + some.String()},
		"a promise without test": {strings.Replace(page, "## Guarantees\n", "## Guarantees\n\n- All is well.\n", 1), tests, "no test proves: - All is well."},
		"a test of no package":   {page + "\n`TestAll`\n", tests, "of them as `package: TestName`"},
		"a test of the house":    {page + "\n`.: TestAll`\n", tests, "would run itself"},
		"a row is gone":          {strings.Replace(page, "\n| W7 |", "\n| X7 |", 1), tests, "W7 has 0 rows"},
		"a row is there twice":   {strings.Replace(page, "\n| M1 |", "\n| M2 |", 1), tests, "M2 has 2 rows"},
		"the heading is gone":    {strings.Replace(page, "## Guarantees", "## Hopes", 1), tests, "only 0 guarantees"},
	} {
		if faults := strings.Join(faultsOf(c.page, c.tests), "\n"); !strings.Contains(faults, c.fault) {
			t.Errorf("%s, at %q: %q", name, first, faults)
		}
	}
}

// An event is a line of go test -json.
type event struct{ Action, Package, Test, Output string }

// verdict says which of the proofs do not hold by what go test -json said.
func verdict(proofs []proof, said io.Reader, real bool) (faults []string, err error) {
	ended, output := map[proof]string{}, map[proof]string{}
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // what the compiler prints
		}
		of := proof{strings.TrimPrefix(e.Package, module), e.Test}
		switch e.Action {
		case "output":
			of.test, _, _ = strings.Cut(e.Test, "/")
			output[of] += e.Output
		case "pass", "fail", "skip":
			ended[of] = e.Action
		}
	}
	for _, p := range proofs {
		switch how := ended[p]; {
		case how == "pass", how == "skip" && !real:
		case how == "skip":
			faults = append(faults, p.String()+" was skipped, and FDS_REQUIRE_REAL=1 allows no skip:\n"+output[p])
		default:
			faults = append(faults, p.String()+": "+cmp.Or(how, "it did not run")+"\n"+output[p])
		}
	}
	return faults, lines.Err()
}

func TestAProofThatFailsOrIsSkippedOrDoesNotRunIsNone(t *testing.T) {
	proofs := []proof{{"push", "TestA"}, {"pull", "TestA"}, {"push", "TestB"}, {"push", "TestC"}}
	said := `{"Action":"pass","Package":"github.com/fds-sdk/fds-go/push","Test":"TestA"}
{"Action":"output","Package":"github.com/fds-sdk/fds-go/pull","Test":"TestA/part","Output":"why\n"}
{"Action":"fail","Package":"github.com/fds-sdk/fds-go/pull","Test":"TestA"}
# what a compiler says
{"Action":"skip","Package":"github.com/fds-sdk/fds-go/push","Test":"TestB"}
{"Action":"pass","Package":"github.com/fds-sdk/fds-go/push"}
`
	for real, want := range map[bool]string{
		false: "pull: TestA: fail\nwhy\n|push: TestC: it did not run\n",
		true:  "pull: TestA: fail\nwhy\n|push: TestB was skipped, and FDS_REQUIRE_REAL=1 allows no skip:\n|push: TestC: it did not run\n",
	} {
		faults, err := verdict(proofs, strings.NewReader(said), real)
		if got := strings.Join(faults, "|"); got != want || err != nil {
			t.Errorf("real parts required %v: %q, %v", real, got, err)
		}
	}
}

// TestWhatSecurityPromisesHolds runs the tests that SECURITY.md names, of those that this system
// has, in the way in which it runs itself: with the race detector or without. The result of an
// unchanged package is go test's own, from its cache.
func TestWhatSecurityPromisesHolds(t *testing.T) {
	program, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not here: ", err)
	}
	page, tests := securityPage(t)
	var proofs []proof
	var folders, names []string
	for _, p := range proofsIn(page) {
		file, ok := tests[p]
		if !ok || p.folder == "." || slices.Contains(proofs, p) {
			continue // another test says so
		}
		if !builtOn(runtime.GOOS, file) {
			if !slices.ContainsFunc([]string{"linux", "darwin", "windows"}, func(system string) bool { return builtOn(system, file) }) {
				t.Errorf("what SECURITY.md promises does not hold: %s runs nowhere: no system builds %s", p, file)
			}
			continue
		}
		proofs, names = append(proofs, p), append(names, p.test)
		folders = append(folders, "./"+p.folder)
	}
	slices.Sort(folders)
	slices.Sort(names)
	arguments := []string{"test", "-json", "-vet=off", "-timeout=5m", "-run=^(" + strings.Join(slices.Compact(names), "|") + ")$"}
	if underRace() {
		arguments = append(arguments, "-race")
	}
	command := exec.CommandContext(t.Context(), program, append(arguments, slices.Compact(folders)...)...)
	var said, complaints bytes.Buffer
	command.Stdout, command.Stderr = &said, &complaints
	failed := command.Run() // says no more than the events do, unless nothing ran
	faults, err := verdict(proofs, &said, os.Getenv("FDS_REQUIRE_REAL") == "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Errorf("what SECURITY.md promises does not hold: %s", fault)
	}
	if failed != nil {
		t.Errorf("go test: %v\n%s", failed, complaints.String())
	}
	t.Logf("%d tests of %d packages", len(proofs), len(slices.Compact(folders)))
}

// builtOn reports whether a system builds a file.
func builtOn(system, file string) bool {
	there := build.Default
	there.GOOS = system
	folder, name := filepath.Split(filepath.FromSlash(file))
	ok, err := there.MatchFile(folder, name)
	return ok && err == nil
}

func TestAFileThatNoSystemBuildsIsNoProof(t *testing.T) {
	for text, want := range map[string]bool{"": true, "//go:build !windows\n\n": true, "//go:build windows\n\n": false, "//go:build never\n\n": false} {
		file := filepath.Join(t.TempDir(), "proof_test.go")
		if err := os.WriteFile(file, []byte(text+"package x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := builtOn("linux", file); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// underRace reports whether this test runs with the race detector.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// outside are packages of the standard library by which a package takes in what others wrote.
var outside = []string{"crypto/x509", "encoding/asn1", "encoding/json", "encoding/pem", "net", "net/http"}

// readers returns the packages of the SDK and the demo that take in what others wrote.
func readers(house fs.FS) (folders []string, err error) {
	err = fs.WalkDir(house, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(house, name)
		}
		folder := path.Dir(name)
		ours := slices.Contains(slices.Concat(floors[:len(floors)-1]...), room(folder)) || room(folder) == "cmd"
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !ours || within(folder, realtest) {
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
		if slices.ContainsFunc(parsed.Imports, func(one *ast.ImportSpec) bool { return slices.Contains(outside, strings.Trim(one.Path.Value, "\"`")) }) {
			folders = append(folders, folder)
		}
		return nil
	})
	slices.Sort(folders)
	return slices.Compact(folders), err
}

// listFaults says which tests are missing in the list of go test -run Attack.
func listFaults(tests map[proof]string, readers []string) (faults []string) {
	attacked := map[string]bool{}
	for p, file := range tests {
		named := strings.Contains(p.test, "Attack")
		attacked[p.folder] = attacked[p.folder] || named
		switch {
		case named:
		case strings.HasPrefix(p.test, "Fuzz"):
			readers = append(readers, p.folder)
		case strings.Contains(path.Base(file), "attack"):
			faults = append(faults, p.String()+" is no attack by its name; move it, or give it one that says what a hostile party tried and what held")
		}
	}
	slices.Sort(readers)
	for _, folder := range slices.Compact(readers) {
		if !attacked[folder] && room(folder) != provider {
			faults = append(faults, folder+" takes in what others wrote and has no test with Attack in its name")
		}
	}
	slices.Sort(faults)
	return faults
}

func TestEveryAttackIsInTheListThatAReviewerReads(t *testing.T) {
	page, tests := securityPage(t)
	readers, err := readers(os.DirFS("."))
	if err != nil || len(readers) < 10 {
		t.Fatalf("%q, %v", readers, err)
	}
	for _, fault := range listFaults(tests, readers) {
		t.Error(fault)
	}
	if command := "go test -run Attack -v ./..."; !strings.Contains(page, command) {
		t.Errorf("SECURITY.md does not say: %s", command)
	}
}

func TestTheListOfAttacksHasARule(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("package x\n" + text)} }
	house := fstest.MapFS{
		"push/attack_test.go":          file("func TestAttackA() {}; func TestB() {}; func helper() {}"),
		"push/wire_test.go":            file("func FuzzWire() {}; func TestC() {}"),
		"push/wire.go":                 file(`import "net"`),
		"pull/body_attack_test.go":     file("func TestMain() {}; func TestD() {}; func FuzzBody() {}"),
		"fds/item_test.go":             file("func FuzzItem() {}"),
		"internal/door/door.go":        file(`import "net/http"`),
		"internal/door/door_test.go":   file(`import "net/http"; func TestE() {}`),
		"internal/quiet/quiet.go":      file(`import "net/url"`),
		"internal/realtest/parts.go":   file(`import "net/http"`),
		"benchmarks/owners/main.go":    file(`import "net/http"`),
		"fdstest/internal/x/x_test.go": file("func FuzzX() {}"),
	}
	tests, err := testsOf(house)
	if err != nil {
		t.Fatal(err)
	}
	readers, err := readers(house)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, fault := range listFaults(tests, readers) {
		got = append(got, strings.Join(strings.Fields(fault)[:2], " "))
	}
	want := "fds takes|internal/door takes|pull takes|pull: TestD|push: TestB"
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}
