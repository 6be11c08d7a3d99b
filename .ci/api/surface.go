package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// systems are those whose API is looked at. A line that some of them lack names those that have it.
var systems = []string{"linux", "windows", "darwin"}

// private are the folders of the module that are no packages for applications, besides internal
// ones and programs.
var private = []string{"examples", "benchmarks", "cmd", "docs"}

// surface is what a package shows of itself.
type surface struct {
	path  string // below the module's
	names int    // exported identifiers at the package's top level
	lines []string
}

// load returns the surfaces of the module's public packages, by path.
func load() ([]surface, error) {
	type seen struct {
		surface
		on map[string][]string // systems, by line
	}
	all := map[string]*seen{}
	for _, system := range systems {
		found, err := loadFor(system)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", system, err)
		}
		for _, one := range found {
			known := all[one.path]
			if known == nil {
				known = &seen{surface{path: one.path}, map[string][]string{}}
				all[one.path] = known
			}
			known.names = max(known.names, one.names)
			for _, line := range one.lines {
				known.on[line] = append(known.on[line], system)
			}
		}
	}
	var packages []surface
	for _, one := range all {
		for line, on := range one.on {
			if len(on) < len(systems) {
				what, rest, _ := strings.Cut(line, ",")
				line = what + " (" + strings.Join(on, ", ") + ")," + rest
			}
			one.lines = append(one.lines, line)
		}
		slices.Sort(one.lines)
		packages = append(packages, one.surface)
	}
	slices.SortFunc(packages, func(a, b surface) int { return strings.Compare(a.path, b.path) })
	return packages, nil
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath, Name, Export string
	Module                   *struct {
		Path string
		Main bool
	}
}

// loadFor reads the types that the compiler wrote for one system.
func loadFor(system string) ([]surface, error) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Export,Module", "./...")
	list.Env = append(os.Environ(), "GOOS="+system)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var public []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[one.ImportPath] = one.Export
		if one.Module != nil && one.Module.Main && isPublic(one.Module.Path, one.ImportPath, one.Name) {
			public = append(public, one)
		}
	}
	if len(public) == 0 {
		return nil, errors.New("no public package: run it in the module's root")
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var packages []surface
	for _, one := range public {
		pkg, err := from.Import(one.ImportPath)
		if err != nil {
			return nil, err
		}
		packages = append(packages, look(strings.TrimPrefix(one.ImportPath, one.Module.Path+"/"), pkg, func(path string) bool {
			return slices.ContainsFunc(public, func(one listed) bool { return one.ImportPath == path })
		}))
	}
	return packages, nil
}

func isPublic(module, path, name string) bool {
	elements := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, module), "/"), "/")
	return path != module && name != "main" && !slices.Contains(private, elements[0]) && !slices.Contains(elements, "internal")
}

// look returns a package's surface. isPublic tells the packages that have one.
func look(path string, pkg *types.Package, isPublic func(path string) bool) surface {
	l := &looker{surface: surface{path: path}, pkg: pkg, isPublic: isPublic}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			l.names++
			l.object(object)
		}
	}
	slices.Sort(l.lines)
	return l.surface
}

type looker struct {
	surface
	pkg      *types.Package
	isPublic func(path string) bool
}

func (l *looker) line(format string, arguments ...any) {
	l.lines = append(l.lines, "pkg "+l.path+", "+fmt.Sprintf(format, arguments...))
}

func (l *looker) object(object types.Object) {
	switch object := object.(type) {
	case *types.Const:
		kind := " " + l.text(object.Type())
		if basic, ok := object.Type().(*types.Basic); ok && basic.Info()&types.IsUntyped != 0 {
			kind = ""
		}
		l.line("const %s%s = %s", object.Name(), kind, object.Val().ExactString())
	case *types.Var:
		l.line("var %s %s", object.Name(), l.text(object.Type()))
	case *types.Func:
		l.line("func %s%s", object.Name(), l.signature(object.Signature()))
	case *types.TypeName:
		l.typeName(object)
	}
}

func (l *looker) typeName(object *types.TypeName) {
	named, _ := types.Unalias(object.Type()).(*types.Named)
	if object.IsAlias() {
		l.line("type %s = %s", object.Name(), l.text(types.Unalias(object.Type())))
		if named == nil || named.Obj().Pkg() == nil || l.shownElsewhere(named.Obj()) {
			return
		}
	}
	head := "type " + object.Name()
	if named == nil { // an alias of a literal
		return
	}
	if !object.IsAlias() {
		head += l.parameters(named.TypeParams())
	}
	l.underlying(head, named.Underlying(), object.IsAlias())
	l.methods(object.Name(), named)
}

// shownElsewhere reports whether the type has lines of its own, in this package or another.
func (l *looker) shownElsewhere(object *types.TypeName) bool {
	return object.Exported() && (object.Pkg() == l.pkg || l.isPublic(object.Pkg().Path()) || !strings.Contains("/"+object.Pkg().Path()+"/", "/internal/"))
}

func (l *looker) underlying(head string, of types.Type, known bool) {
	switch of := of.(type) {
	case *types.Struct:
		if !known {
			l.line("%s struct", head)
		}
		l.fields(head, of)
	case *types.Interface:
		if !known {
			l.line("%s interface", head)
		}
		for method := range of.ExplicitMethods() {
			if method.Exported() {
				l.line("%s interface, %s%s", head, method.Name(), l.signature(method.Signature()))
			} else {
				l.line("%s interface, unexported methods", head)
			}
		}
		for embedded := range of.EmbeddedTypes() {
			l.line("%s interface, embedded %s", head, l.text(embedded))
		}
	default:
		if !known {
			l.line("%s %s", head, l.text(of))
		}
	}
}

// fields shows a struct's fields. What an embedded type that is shown elsewhere brings with it is
// one line; of one that is not, its fields and methods are shown as the struct's own.
func (l *looker) fields(head string, of *types.Struct) {
	for field := range of.Fields() {
		if !field.Embedded() {
			if field.Exported() {
				l.line("%s struct, %s %s", head, field.Name(), l.text(field.Type()))
			}
			continue
		}
		named := namedOf(field.Type())
		if named == nil || named.Obj().Pkg() == nil || l.shownElsewhere(named.Obj()) {
			l.line("%s struct, embedded %s", head, l.text(field.Type()))
			continue
		}
		if inner, ok := named.Underlying().(*types.Struct); ok {
			l.fields(head, inner)
		}
	}
}

// methods shows the methods that are declared for a type, and those of the hidden types that it
// embeds.
func (l *looker) methods(receiver string, named *types.Named) {
	shown := map[string]bool{}
	var show func(named *types.Named)
	show = func(named *types.Named) {
		for method := range named.Methods() {
			if !method.Exported() || shown[method.Name()] {
				continue
			}
			shown[method.Name()] = true
			star := ""
			if _, pointer := method.Signature().Recv().Type().(*types.Pointer); pointer {
				star = "*"
			}
			l.line("method (%s%s) %s%s", star, receiver, method.Name(), l.signature(method.Signature()))
		}
		inner, ok := named.Underlying().(*types.Struct)
		if !ok {
			return
		}
		for field := range inner.Fields() {
			if embedded := namedOf(field.Type()); field.Embedded() && embedded != nil && embedded.Obj().Pkg() != nil && !l.shownElsewhere(embedded.Obj()) {
				show(embedded)
			}
		}
	}
	show(named)
}

func namedOf(of types.Type) *types.Named {
	if pointer, ok := types.Unalias(of).(*types.Pointer); ok {
		of = pointer.Elem()
	}
	named, _ := types.Unalias(of).(*types.Named)
	return named
}

// text returns a type as source has it, without the names of parameters, which are no part of an
// API.
func (l *looker) text(of types.Type) string {
	switch of := of.(type) {
	case *types.Signature:
		return "func" + l.signature(of)
	case *types.Pointer:
		return "*" + l.text(of.Elem())
	case *types.Slice:
		return "[]" + l.text(of.Elem())
	case *types.Array:
		return fmt.Sprintf("[%d]%s", of.Len(), l.text(of.Elem()))
	case *types.Map:
		return "map[" + l.text(of.Key()) + "]" + l.text(of.Elem())
	}
	return types.TypeString(of, func(other *types.Package) string {
		if other == l.pkg {
			return ""
		}
		return other.Name()
	})
}

func (l *looker) signature(of *types.Signature) string {
	tuple := func(of *types.Tuple, variadic bool) []string {
		var texts []string
		for i := range of.Len() {
			if variadic && i == of.Len()-1 {
				texts = append(texts, "..."+l.text(of.At(i).Type().(*types.Slice).Elem()))
			} else {
				texts = append(texts, l.text(of.At(i).Type()))
			}
		}
		return texts
	}
	text := l.parameters(of.TypeParams()) + "(" + strings.Join(tuple(of.Params(), of.Variadic()), ", ") + ")"
	switch results := tuple(of.Results(), false); len(results) {
	case 0:
		return text
	case 1:
		return text + " " + results[0]
	default:
		return text + " (" + strings.Join(results, ", ") + ")"
	}
}

func (l *looker) parameters(of *types.TypeParamList) string {
	if of.Len() == 0 {
		return ""
	}
	var texts []string
	for parameter := range of.TypeParams() {
		texts = append(texts, parameter.Obj().Name()+" "+l.text(parameter.Constraint()))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
