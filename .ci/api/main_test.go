package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// imports are packages by path.
type imports map[string]*types.Package

func (i imports) Import(path string) (*types.Package, error) { return i[path], nil }

// add type-checks one more package.
func (i imports) add(t *testing.T, path, source string) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: i}
	if i[path], err = config.Check(path, set, []*ast.File{parsed}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestEachExportedNameIsALine(t *testing.T) {
	all := imports{}
	all.add(t, "m/fds", `package fds
		type Item struct{ Raw []byte }
		func (Item) Text() string { return "" }`)
	all.add(t, "m/internal/hidden", `package hidden
		type Base struct{ ID int; inner int }
		func (*Base) Close(now bool) error { return nil }
		type Secret struct{ text string }
		func (Secret) Reveal() string { return "" }`)
	all.add(t, "m/push", `package push
		import ("m/fds"; "m/internal/hidden")
		const Most = 65535
		const low = 1
		type Phase string
		const Connected Phase = "connected"
		var ErrClosed error
		type Handler func(message fds.Item) error
		type Config struct {
			fds.Item
			Retry func(attempt int, err error) (again bool)
			unseen int
		}
		type base struct{ State Phase }
		func (base) Wake() {}
		type Connection struct { base; *hidden.Base }
		func (c *Connection) Run(topics ...string) (int, error) { return 0, nil }
		func (c *Connection) run() {}
		type Hook interface { Handled(key []fds.Item) }
		type Sealed interface { Hook; seal() }
		type Secret = hidden.Secret
		type Item = fds.Item
		type Set[K comparable] struct { Has map[K]bool }
		func (s *Set[K]) Add(key K) {}
		func Collect[T any](from func(yield func(item T) bool)) (items []T) { return nil }
		func private() {}`)
	got := look("push", all["m/push"], func(path string) bool { return path == "m/fds" || path == "m/push" })
	want := `pkg push, const Connected Phase = "connected"
pkg push, const Most = 65535
pkg push, func Collect[T any](func(func(T) bool)) []T
pkg push, method (*Connection) Close(bool) error
pkg push, method (*Connection) Run(...string) (int, error)
pkg push, method (*Set) Add(K)
pkg push, method (Connection) Wake()
pkg push, method (Secret) Reveal() string
pkg push, type Config struct
pkg push, type Config struct, Retry func(int, error) bool
pkg push, type Config struct, embedded fds.Item
pkg push, type Connection struct
pkg push, type Connection struct, ID int
pkg push, type Connection struct, State Phase
pkg push, type Handler func(fds.Item) error
pkg push, type Hook interface
pkg push, type Hook interface, Handled([]fds.Item)
pkg push, type Item = fds.Item
pkg push, type Phase string
pkg push, type Sealed interface
pkg push, type Sealed interface, embedded Hook
pkg push, type Sealed interface, unexported methods
pkg push, type Secret = hidden.Secret
pkg push, type Set[K comparable] struct
pkg push, type Set[K comparable] struct, Has map[K]bool
pkg push, var ErrClosed error`
	if text := strings.Join(got.lines, "\n"); text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	if got.names != 13 {
		t.Errorf("%d names, and there are 13", got.names)
	}
}

func TestPublicIsWhatAnApplicationImports(t *testing.T) {
	for path, want := range map[string]bool{
		"m/fds":                         true,
		"m/tokenstore/storetest":        true,
		"m/internal/backoff":            false,
		"m/fdsclient/internal/keep":     false,
		"m/examples":                    false,
		"m/docs":                        false,
		"m/benchmarks/owners/internals": false,
		"m":                             false, // tests of the whole
	} {
		if got := isPublic("m", path, "some"); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if isPublic("m", "m/tool", "main") {
		t.Error("a program is public")
	}
}

func TestADifferenceIsShownByLineWithWhatToDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "api")
	before := []surface{
		{path: "fds", lines: []string{"pkg fds, const A = 1", "pkg fds, func B()"}},
		{path: "tokenstore/storetest", lines: []string{"pkg tokenstore/storetest, func Run()"}},
	}
	if err := write(dir, before); err != nil {
		t.Fatal(err)
	}
	if faults, err := compare(dir, before); err != nil || len(faults) > 0 {
		t.Fatalf("what was just written differs: %q, %v", faults, err)
	}
	after := []surface{
		{path: "fds", lines: []string{"pkg fds, const A = 2", "pkg fds, func B()"}},
		{path: "push", lines: []string{"pkg push, func New()"}},
	}
	faults, err := compare(dir, after)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(faults, "\n")
	want := `-pkg fds, const A = 1
+pkg fds, const A = 2
+pkg push, func New()
-pkg tokenstore/storetest, func Run()
`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "go run ./.ci/api") || !strings.Contains(got, "CHANGELOG.md") {
		t.Errorf("got:\n%s", got)
	}
	if err := write(dir, after); err != nil {
		t.Fatal(err)
	}
	if faults, err := compare(dir, after); err != nil || len(faults) > 0 {
		t.Errorf("what was written over differs: %q, %v", faults, err)
	}
}

// repository is a clone with a history of its own.
type repository struct {
	t   *testing.T
	dir string
}

func (r repository) git(arguments ...string) {
	r.t.Helper()
	command := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"}, arguments...)...)
	if out, err := command.CombinedOutput(); err != nil {
		r.t.Fatalf("git %s: %v\n%s", arguments, err, out)
	}
}

// change appends to files.
func (r repository) change(names ...string) {
	r.t.Helper()
	for _, name := range names {
		name = filepath.Join(r.dir, name)
		old, _ := os.ReadFile(name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(name, append(old, "more\n"...), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r repository) commit(names ...string) {
	r.t.Helper()
	r.change(names...)
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "x")
}

func (r repository) expect(explained bool, when string) {
	r.t.Helper()
	faults, err := unexplained(r.dir)
	if err != nil {
		r.t.Errorf("%s: %v", when, err)
	}
	if explained != (len(faults) == 0) {
		r.t.Errorf("%s: %q", when, faults)
	}
}

func TestAChangeOfTheAPIGoesWithOneOfTheChangelog(t *testing.T) {
	r := repository{t, t.TempDir()}
	r.expect(true, "no repository")
	r.git("init", "-q")
	r.expect(true, "no commit")
	r.commit("main.go", changelog)
	r.expect(true, "no API yet")
	r.change("api/fds.txt")
	r.expect(false, "an API that is not committed")
	r.change(changelog)
	r.expect(true, "nor is the changelog")
	r.commit()
	r.expect(true, "both in a commit")
	r.commit("main.go")
	r.expect(true, "a commit of neither")
	r.commit("api/fds.txt")
	r.expect(false, "the API alone")
	r.commit("main.go")
	r.expect(false, "the API alone, some commits ago")

	shallow := repository{t, t.TempDir()}
	shallow.git("clone", "-q", "--depth=1", "file://"+filepath.ToSlash(r.dir), ".")
	shallow.expect(true, "a clone without history")

	r.commit(changelog)
	r.expect(true, "the changelog after the API")
}
