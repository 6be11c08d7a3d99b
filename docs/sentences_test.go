package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"
)

// varies stands in a text for a part that differs from time to time.
const varies = "…"

// house is the module, and apart are the folders whose texts no user of the SDK meets.
var (
	house = os.DirFS("..")
	apart = []string{"docs", "benchmarks", "examples", "fdstest", "internal/realtest", "testdata"}
)

// sentences returns the texts of the module's source, each with varies for what a format or a
// concatenation fills in.
var sentences = sync.OnceValues(func() ([]string, error) {
	var all []string
	err := fs.WalkDir(house, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(path.Base(name), ".") || slices.Contains(apart, name) || path.Base(name) == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(house, name)
		if err != nil {
			return err
		}
		some, err := sentencesOf(string(text))
		all = append(all, some...)
		return err
	})
	return all, err
})

// sentencesOf returns the texts of one file.
func sentencesOf(source string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	constants := map[string]ast.Expr{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == len(spec.Values) {
			for i, name := range spec.Names {
				constants[name.Name] = spec.Values[i]
			}
		}
		return true
	})
	var texts []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BinaryExpr:
			if n.Op == token.ADD {
				texts = append(texts, together(rendered(n, constants)))
			}
		case *ast.BasicLit:
			texts = append(texts, together(rendered(n, constants)))
		}
		return true
	})
	return texts, nil
}

// rendered returns a text as a person meets it.
func rendered(e ast.Expr, constants map[string]ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return verb.ReplaceAllStringFunc(text, filled)
		}
	case *ast.ParenExpr:
		return rendered(e.X, constants)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return rendered(e.X, constants) + rendered(e.Y, constants)
		}
	case *ast.Ident:
		if value, ok := constants[e.Name].(*ast.BasicLit); ok {
			return rendered(value, constants)
		}
	}
	return varies
}

var verb = regexp.MustCompile(`%[-+# 0]*(\[\d+\])?\d*(\.\d+)?[a-zA-Z%]`)

func filled(verb string) string {
	switch verb[len(verb)-1] {
	case '%':
		return "%"
	case 'q':
		return `"` + varies + `"`
	}
	return varies
}

// together makes one of parts that follow one another.
func together(text string) string {
	return regexp.MustCompile(varies+"+").ReplaceAllString(text, varies)
}

// stands reports whether a quoted text is in a sentence, not begun or ended within a word.
func stands(quoted string, all []string) bool {
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return slices.ContainsFunc(all, func(sentence string) bool {
		for at := 0; ; {
			i := strings.Index(sentence[at:], quoted)
			if i < 0 {
				return false
			}
			before, _ := utf8.DecodeLastRuneInString(sentence[:at+i])
			after, _ := utf8.DecodeRuneInString(sentence[at+i+len(quoted):])
			if !letter(before) && !letter(after) {
				return true
			}
			at += i + 1
		}
	})
}

func TestASentenceIsFoundAsAPersonMeetsIt(t *testing.T) {
	all, err := sentencesOf(`package p
		const where = "in the folder"
		var a = fmt.Errorf("p: open %s: %w: it has version %d, this program knows %.100q", name, err, 1, 2)
		var b = "the key is missing; look " + where + " of " + name + fmt.Sprint(1) + ", or sign in"
	`)
	if err != nil {
		t.Fatal(err)
	}
	for quoted, want := range map[string]bool{
		"it has version …, this program knows":             true,
		`it has version …, this program knows "…"`:         true,
		"p: open …: …: it has version":                     true,
		"the key is missing; look in the folder of …, or":  true,
		"the key is missing":                               true,
		"it has version 1, this program knows":             false, // that part varies
		"the key is missing; look in the folder, or":       false,
		"the key is miss":                                  false, // within a word
		"the key is gone":                                  false,
		"it has version …, the key is missing":             false,
		"fmt":                                              false,
		"p: open …: it has version …, this program knows ": false,
	} {
		if got := stands(quoted, all); got != want {
			t.Errorf("%q stands in the code: %v, want %v; sentences are %q", quoted, got, want, all)
		}
	}
}

func TestEveryQuotedTextStandsInTheCode(t *testing.T) {
	all, err := sentences()
	if err != nil || len(all) < 1000 {
		t.Fatalf("%d sentences: %v", len(all), err)
	}
	for name, page := range pages(t) {
		for _, e := range entries(page) {
			if len(e.quoted) == 0 {
				t.Errorf("%s:%d: no text is quoted", name, e.line)
			}
			for _, quoted := range e.quoted {
				if !stands(quoted, all) {
					t.Errorf("%s:%d: no source has the text %q; quote what it says now, with %s for what varies", name, e.line, quoted, varies)
				}
			}
		}
	}
}
