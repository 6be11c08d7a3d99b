package fdsclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	gotoken "go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/fds-sdk/fds-go/"

// isData are the types in which an owner's data, or what reads it, leaves the SDK. So do
// those that hold one of them where it can be had.
var isData = map[string]bool{
	module + "fds.Item": true, module + "delivery.Message": true, module + "pull.Client": true, module + "fdsclient.Token": true,
	"net/http.Response": true, "net/http.RoundTripper": true, "net/http.Client": true,
	"golang.org/x/oauth2.TokenSource": true, "golang.org/x/oauth2.Token": true,
}

// isRaw are the types that may hold anything.
var isRaw = map[string]bool{
	"encoding/json.RawMessage": true, "encoding/json.Decoder": true, "bytes.Buffer": true, "bytes.Reader": true, "strings.Reader": true,
	"io.Reader": true, "io.ReadCloser": true, "io.ReadSeeker": true, "io.ReaderAt": true, "io.WriterTo": true, "reflect.Value": true, "log/slog.Value": true, "log/slog.Attr": true,
}

// isSink are the types of what an application hands the SDK to write to.
var isSink = map[string]bool{
	"io.Writer": true, "io.WriteCloser": true, "io.ReadWriter": true, "bytes.Buffer": true, "net/http.ResponseWriter": true,
	"log/slog.Logger": true, "log/slog.Handler": true, "fmt.State": true,
}

// api reads the exported API of packages.
type api struct {
	rooms map[string]bool // by path
	found map[string]string
	seen  map[*types.Named]bool
}

// waysOut returns all ways by which data can leave the SDK through the packages, and how:
// what returns it, what calls a function, or a method, of the application's with it, and
// what writes it to something of the application's. Types are followed that can be had
// though they cannot be named.
func waysOut(load func(path string) *types.Package, rooms []string) map[string]string {
	a := &api{rooms: make(map[string]bool), found: make(map[string]string), seen: make(map[*types.Named]bool)}
	for _, room := range rooms {
		a.rooms[module+room] = true
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
				a.function(room+"."+name, object.Signature())
			case *types.Var:
				a.add(room+"."+name, dataOrRaw(object.Type(), a))
				a.given(room+"."+name, object.Type())
			case *types.TypeName:
				if named, ok := types.Unalias(object.Type()).(*types.Named); ok {
					a.named(named)
				}
			}
		}
	}
	return a.found
}

func (a *api) add(name, why string) {
	if why != "" && a.found[name] == "" {
		a.found[name] = why
	}
}

// function looks at one that the application calls.
func (a *api) function(name string, s *types.Signature) {
	for result := range s.Results().Variables() {
		if why := dataOrRaw(result.Type(), a); why != "" {
			a.add(name, "returns "+why)
		}
		a.follow(result.Type())
	}
	for parameter := range s.Params().Variables() {
		a.given(name, parameter.Type())
	}
}

// given looks at what the application hands the SDK, which may be called or written to.
func (a *api) given(name string, t types.Type) {
	a.follow(t)
	switch t := t.(type) {
	case *types.Signature:
		a.add(name, takes(t, a))
		return
	case *types.Chan:
		if why := dataOrRaw(t.Elem(), a); why != "" && t.Dir() != types.RecvOnly {
			a.add(name, "sends "+why)
		}
		return
	case *types.Slice:
		a.given(name, t.Elem())
		return
	case *types.Map:
		a.given(name, t.Elem())
		return
	case *types.Pointer:
		if why := dataIn(t.Elem(), nil, a); why != "" && !isHandle(t.Elem()) {
			a.add(name, "fills "+why)
		}
	}
	switch {
	case isSink[nameOf(t)]:
		a.add(name, "writes to "+nameOf(t))
	case isEmptyInterface(t):
		a.add(name, "is given any value, which it could fill")
	}
	if s, ok := t.Underlying().(*types.Signature); ok {
		a.add(name, takes(s, a))
	}
}

// named looks at a type of the SDK that an application can have.
func (a *api) named(named *types.Named) {
	named = named.Origin()
	object := named.Obj()
	if object.Pkg() == nil || a.seen[named] || !strings.HasPrefix(object.Pkg().Path(), module) || isData[nameOf(named)] && !a.rooms[object.Pkg().Path()] {
		return
	}
	a.seen[named] = true
	name := strings.TrimPrefix(object.Pkg().Path(), module) + "." + object.Name()
	if iface, ok := named.Underlying().(*types.Interface); ok {
		for method := range iface.Methods() {
			if method.Exported() { // whoever has it implements it
				a.add(name+"."+method.Name(), takes(method.Signature(), a))
				a.add(name+"."+method.Name(), takesError(method.Signature()))
				a.function(name+"."+method.Name(), method.Signature())
			}
		}
		return
	}
	if a.rooms[object.Pkg().Path()] {
		if types.Implements(types.NewPointer(named), errorType) {
			a.add(name, "is an error, which could say anything")
		}
		methods := types.NewMethodSet(types.NewPointer(named)) // promoted ones too
		for i := range methods.Len() {
			if method := methods.At(i).Obj().(*types.Func); method.Exported() && (method.Pkg() == nil || method.Pkg() == object.Pkg()) {
				a.function(name+"."+method.Name(), method.Signature())
				if of := method.Name(); of == "String" || of == "GoString" || of == "MarshalText" {
					a.add(name+"."+of, "is a text, which could say anything")
				}
			}
		}
	}
	a.fields(name, named.Underlying())
}

// fields looks at those of a struct by which the application is called or written to.
func (a *api) fields(name string, t types.Type) {
	of, ok := t.(*types.Struct)
	if !ok {
		return
	}
	for field := range of.Fields() {
		if !field.Exported() {
			continue
		}
		at, of := name+"."+field.Name(), field.Type()
		a.follow(of)
		if pointer, ok := of.(*types.Pointer); ok && isSink[nameOf(pointer.Elem())] || isSink[nameOf(of)] {
			a.add(at, "writes to "+types.TypeString(of, nil))
		}
		switch under := elementOf(of).Underlying().(type) {
		case *types.Signature:
			a.add(at, takes(under, a))
			a.add(at, takesError(under))
		case *types.Chan:
			a.given(at, under)
		case *types.Struct:
			if _, named := elementOf(of).(*types.Named); !named {
				a.fields(at, under)
			}
		}
	}
}

// elementOf returns what a type holds one or many of.
func elementOf(t types.Type) types.Type {
	switch t := t.Underlying().(type) {
	case *types.Slice:
		return elementOf(t.Elem())
	case *types.Array:
		return elementOf(t.Elem())
	case *types.Map:
		return elementOf(t.Elem())
	}
	return t
}

// follow looks at the types of the SDK that a type is made of.
func (a *api) follow(t types.Type) {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		for argument := range t.TypeArgs().Types() {
			a.follow(argument)
		}
		a.named(t)
	case *types.Pointer:
		a.follow(t.Elem())
	case *types.Slice:
		a.follow(t.Elem())
	case *types.Array:
		a.follow(t.Elem())
	case *types.Chan:
		a.follow(t.Elem())
	case *types.Map:
		a.follow(t.Key())
		a.follow(t.Elem())
	case *types.Signature:
		for v := range t.Params().Variables() {
			a.follow(v.Type())
		}
		for v := range t.Results().Variables() {
			a.follow(v.Type())
		}
	}
}

// takes returns what data a function of the application's is given; "": none.
func takes(s *types.Signature, a *api) string {
	for parameter := range s.Params().Variables() {
		if why := dataOrRaw(parameter.Type(), a); why != "" {
			return "takes " + why
		}
		if of, ok := parameter.Type().Underlying().(*types.Signature); ok { // as an iterator's yield
			if why := takes(of, a); why != "" {
				return why
			}
		}
	}
	return ""
}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

// takesError returns by what a function of the application's is told an error, which could
// say anything; "": it is told none.
func takesError(s *types.Signature) string {
	isError := func(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }
	for parameter := range s.Params().Variables() {
		if isError(parameter.Type()) {
			return "takes an error, which could say anything"
		}
		if of, ok := parameter.Type().Underlying().(*types.Struct); ok {
			for field := range of.Fields() {
				if field.Exported() && isError(field.Type()) {
					return "takes an error in " + field.Name() + ", which could say anything"
				}
			}
		}
	}
	return ""
}

// dataOrRaw is dataIn for what may hold anything too.
func dataOrRaw(t types.Type, a *api) string {
	if why := dataIn(t, nil, a); why != "" {
		return why
	}
	return rawIn(t)
}

// rawIn returns what a type is by which any bytes can be had; "": none.
func rawIn(t types.Type) string {
	if isRaw[nameOf(t)] {
		return nameOf(t)
	}
	if isEmptyInterface(t) {
		return "any value"
	}
	switch t := types.Unalias(t).(type) {
	case *types.Pointer:
		return rawIn(t.Elem())
	case *types.Slice:
		if basic, ok := t.Elem().Underlying().(*types.Basic); ok && basic.Kind() == types.Byte {
			return "[]byte"
		}
		return rawIn(t.Elem())
	case *types.Array:
		return rawIn(t.Elem())
	case *types.Chan:
		return rawIn(t.Elem())
	case *types.Map:
		return rawIn(t.Elem())
	case *types.Named:
		if object := t.Obj(); object.Pkg() != nil && strings.HasPrefix(object.Pkg().Path(), module) {
			return rawInFields(t.Underlying())
		}
	case *types.Struct:
		return rawInFields(t)
	case *types.Signature: // an iterator
		return takesRaw(t)
	}
	return ""
}

func takesRaw(s *types.Signature) string {
	for parameter := range s.Params().Variables() {
		yield, ok := parameter.Type().Underlying().(*types.Signature)
		if !ok {
			continue
		}
		for value := range yield.Params().Variables() {
			if why := rawIn(value.Type()); why != "" {
				return why
			}
		}
	}
	return ""
}

// rawInFields looks at a struct's own fields, by which a Payload or a Body leaves.
func rawInFields(t types.Type) string {
	switch t := t.(type) {
	case *types.Struct:
		for field := range t.Fields() {
			if _, nested := types.Unalias(field.Type()).(*types.Named); field.Exported() && (!nested || isRaw[nameOf(field.Type())]) {
				if why := rawIn(field.Type()); why != "" {
					return why
				}
			}
		}
	case *types.Slice:
		return rawIn(t)
	}
	return ""
}

// dataIn returns what data a value of the type holds, for whoever has it; "": none. A type
// of another package than those that are walked holds what its methods return.
func dataIn(t types.Type, within []types.Type, a *api) string {
	for _, outer := range within {
		if types.Identical(outer, t) {
			return ""
		}
	}
	within = append(within, t)
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		if isData[nameOf(t)] {
			return nameOf(t)
		}
		for argument := range t.TypeArgs().Types() {
			if why := dataIn(argument, within, a); why != "" {
				return why
			}
		}
		if object := t.Obj(); object.Pkg() == nil || !strings.HasPrefix(object.Pkg().Path(), module) {
			return ""
		} else if !a.rooms[object.Pkg().Path()] {
			for method := range t.Methods() {
				for result := range method.Signature().Results().Variables() {
					if why := dataIn(result.Type(), within, a); why != "" && method.Exported() {
						return why
					}
				}
			}
		}
		return dataIn(t.Underlying(), within, a)
	case *types.TypeParam:
		return "any type"
	case *types.Pointer:
		return dataIn(t.Elem(), within, a)
	case *types.Slice:
		return dataIn(t.Elem(), within, a)
	case *types.Array:
		return dataIn(t.Elem(), within, a)
	case *types.Chan:
		return dataIn(t.Elem(), within, a)
	case *types.Map:
		return dataIn(t.Key(), within, a) + dataIn(t.Elem(), within, a)
	case *types.Signature: // an iterator, or a function that fetches
		for result := range t.Results().Variables() {
			if why := dataIn(result.Type(), within, a); why != "" {
				return why
			}
		}
		for parameter := range t.Params().Variables() {
			if yield, ok := parameter.Type().Underlying().(*types.Signature); ok {
				for value := range yield.Params().Variables() {
					if why := dataIn(value.Type(), within, a); why != "" {
						return why
					}
				}
			}
		}
	case *types.Struct:
		for field := range t.Fields() {
			if _, callback := field.Type().Underlying().(*types.Signature); field.Exported() && !callback {
				if why := dataIn(field.Type(), within, a); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

// isHandle reports whether a type is one that nobody fills through a pointer.
func isHandle(t types.Type) bool { return nameOf(t) == module+"pull.Client" }

func nameOf(t types.Type) string {
	t = types.Unalias(t)
	if pointer, ok := t.(*types.Pointer); ok {
		t = types.Unalias(pointer.Elem())
	}
	if named, ok := t.(*types.Named); ok && named.Obj().Pkg() != nil {
		return named.Obj().Pkg().Path() + "." + named.Obj().Name()
	}
	return ""
}

func isEmptyInterface(t types.Type) bool {
	iface, ok := types.Unalias(t).(*types.Interface)
	return ok && iface.NumMethods() == 0 && iface.IsMethodSet()
}

// exports loads packages from what the compiler made of them.
func exports(t *testing.T, rooms []string) func(path string) *types.Package {
	t.Helper()
	arguments := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, room := range rooms {
		arguments = append(arguments, module+room)
	}
	files := make(map[string]string)
	for decoder := json.NewDecoder(strings.NewReader(goCommand(t, arguments...))); ; {
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

// goCommand returns what the go command prints.
func goCommand(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", arguments...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go %s: %s", arguments[0], failed.Stderr)
		}
		t.Skipf("the exported API cannot be read without the go command: %v", err)
	}
	return string(out)
}
