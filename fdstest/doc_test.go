package fdstest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheTableOfFaultsNamesEachAndNoOther(t *testing.T) {
	var makers []string
	var table string
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range files {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		table += file.Doc.Text()
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			result := f.Type.Results.List[0].Type
			if list, ok := result.(*ast.ArrayType); ok {
				result = list.Elt
			}
			if name, ok := result.(*ast.Ident); ok && (name.Name == "Fault" || name.Name == "Odd") {
				makers = append(makers, f.Name.Name)
			}
		}
	}
	var named []string
	for _, item := range regexp.MustCompile(`(?m)^ +- ((?:\[\w+\](?:, )?)+): `).FindAllStringSubmatch(table, -1) {
		named = append(named, strings.FieldsFunc(item[1], func(c rune) bool { return strings.ContainsRune("[], ", c) })...)
	}
	slices.Sort(makers)
	slices.Sort(named)
	if len(makers) < 40 || !slices.Equal(makers, named) {
		t.Errorf("functions that make faults:\n%s\nthe table of doc.go:\n%s", makers, named)
	}
}
