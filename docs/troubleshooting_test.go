package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const troubleshooting = "troubleshooting.md"

func TestEveryClassOfErrorHasAnEntry(t *testing.T) {
	all := entries(read(t, troubleshooting))
	classes := 0
	for _, value := range values(t, "../fds/errors.go") {
		class := value.name
		if !strings.HasPrefix(class, "Err") {
			continue
		}
		classes++
		if !slices.ContainsFunc(all, func(e entry) bool {
			return strings.Contains(e.rest, "`fds."+class+"`") && (value.text == "" || slices.Contains(e.quoted, value.text))
		}) {
			t.Errorf("%s has no entry for fds.%s with its text %q", troubleshooting, class, value.text)
		}
	}
	if classes < 40 {
		t.Errorf("only %d classes were found", classes)
	}
}

type value struct{ name, text string }

// values returns the variables of a file, with the text of each that is made by errors.New.
func values(t *testing.T, name string) (all []value) {
	t.Helper()
	for _, decl := range parse(t, name).Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			spec := spec.(*ast.ValueSpec)
			v := value{name: spec.Names[0].Name}
			if call, ok := spec.Values[0].(*ast.CallExpr); ok && len(call.Args) == 1 {
				v.text = rendered(call.Args[0], nil)
			}
			all = append(all, v)
		}
	}
	return all
}

func parse(t *testing.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryReasonForWhichABrokerRefusesHasAnEntry(t *testing.T) {
	all := entries(read(t, troubleshooting))
	codes := 0
	ast.Inspect(parse(t, "../push/reasons.go"), func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		key, ok := pair.Key.(*ast.BasicLit)
		reason, is := pair.Value.(*ast.CompositeLit)
		if !ok || !is {
			return true
		}
		code, err := strconv.ParseUint(key.Value, 0, 8)
		if err != nil || code < 0x80 {
			return false
		}
		codes++
		wanted := key.Value + " `" + rendered(reason.Elts[0], nil) + "`"
		if !slices.ContainsFunc(all, func(e entry) bool { return strings.Contains(e.cell, wanted) }) {
			t.Errorf("%s has no entry %s", troubleshooting, wanted)
		}
		return false
	})
	if codes < 30 {
		t.Errorf("only %d codes were found", codes)
	}
}

// advised are the files all of whose advice the page has.
var advised = []string{"../internal/tlspolicy/explain.go", "../internal/proxy/connect.go", "../internal/proxy/proxy.go", "../tokenstore/keyringerror.go"}

func TestAllAdviceOnTLSProxiesAndKeyringsHasAnEntry(t *testing.T) {
	all := entries(read(t, troubleshooting))
	for _, name := range advised {
		some, err := sentencesOf(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range some {
			if problem, _, ok := strings.Cut(text, "; "); ok && !slices.ContainsFunc(all, func(e entry) bool {
				return slices.ContainsFunc(e.quoted, func(quoted string) bool { return strings.Contains(text, quoted) })
			}) {
				t.Errorf("%s has no entry for %q of %s", troubleshooting, problem, name)
			}
		}
	}
}
