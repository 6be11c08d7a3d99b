package fdsclient_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"go/types"
	"regexp"
	"testing"
)

// leaks is a package each of whose declarations with a "leak" before it lets data out.
const leaks = `package leaks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

type Owner struct{}

func (o *Owner) Peek(context.Context) (fds.Item, error)      { panic("leak Owner.Peek") }
func (o *Owner) Raw() (json.RawMessage, error)               { panic("leak Owner.Raw") }
func (o *Owner) Bytes() []byte                               { panic("leak Owner.Bytes") }
func (o *Owner) Body() io.ReadCloser                         { panic("leak Owner.Body") }
func (o *Owner) Any() map[string]any                         { panic("leak Owner.Any") }
func (o *Owner) Value() slog.Value                           { panic("leak Owner.Value") }
func (o *Owner) Watch() <-chan fds.Device                    { panic("leak Owner.Watch") }
func (o *Owner) All() iter.Seq2[fds.Message, error]          { panic("leak Owner.All") }
func (o *Owner) Fetch() func() fds.Tag                       { panic("leak Owner.Fetch") }
func (o *Owner) Tree() *fds.SpaceTree                        { panic("leak Owner.Tree") }
func (o *Owner) Sub() struct{ Items []fds.Item }             { panic("leak Owner.Sub") }
func (o *Owner) Named() Named                                { panic("leak Owner.Named") }
func (o *Owner) Clients() []*pull.Client                     { panic("leak Owner.Clients") }
func (o *Owner) Box() Box[fds.Item]                          { panic("leak Owner.Box") }
func (o *Owner) Failing() *delivery.Failing                  { panic("leak Owner.Failing") }
func (o *Owner) Export(w io.Writer) error                    { panic("leak Owner.Export") }
func (o *Owner) Format(s fmt.State, _ rune)                  { panic("leak Owner.Format") }
func (o *Owner) String() string                              { panic("leak Owner.String") }
func (o *Owner) Into(*fds.Device) error                      { panic("leak Owner.Into") }
func (o *Owner) Decode(v any) error                          { panic("leak Owner.Decode") }
func (o *Owner) Feed(chan<- fds.Message)                     { panic("leak Owner.Feed") }
func (o *Owner) Each(func(fds.Space) bool)                   { panic("leak Owner.Each") }
func (o *Owner) Handle(delivery.Handler)                     { panic("leak Owner.Handle") }
func (o *Owner) Hidden() *hidden                             { return nil }
func (o *Owner) Harmless(ctx context.Context, n int) []error { return nil }

type Named struct{ Of map[string][]fds.Space }

type Box[T any] struct{ v T }

func (b Box[T]) Get() T { panic("leak Box.Get") }

type hidden struct{ items []fds.Item }

func (h *hidden) Next() (fds.Device, bool) { panic("leak hidden.Next") }

type embedded struct{}

func (embedded) Read() fds.Item { panic("leak Embedding.Read") }

type Embedding struct{ embedded }

type Hook interface {
	OnItem(fds.OwnerKey, fds.Item) // leak Hook.OnItem
	OnEvent(struct{ Err error })   // leak Hook.OnEvent
	Done(int)
}

type Config struct {
	OnPage func([]hidden, []byte)           // leak Config.OnPage
	OnErr  func(error)                      // leak Config.OnErr
	Out    chan fds.Tag                     // leak Config.Out
	Nested struct{ Call func(fds.Item) }    // leak Config.Nested.Call
	Many   map[string][]func(fds.Item)      // leak Config.Many
	Log    *slog.Logger                     // leak Config.Log
	Limit  func(context.Context) (int, bool)
}

type Failed struct{ item fds.Item } // leak Failed.

func (*Failed) Error() string { return "" }

func Read[T any]() T { panic("leak Read.") }

var (
	Last   *fds.Item      // leak Last.
	OnLast func(fds.Item) // leak OnLast.
)
`

// TestTheWalkFindsEveryWayByWhichDataCanLeave or the table above would be whole whatever
// the API is.
func TestTheWalkFindsEveryWayByWhichDataCanLeave(t *testing.T) {
	load := exports(t, rooms)
	set := gotoken.NewFileSet()
	file, err := parser.ParseFile(set, "leaks.go", leaks, 0)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := (&types.Config{Importer: importing(load)}).Check(module+"leaks", set, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := waysOut(func(string) *types.Package { return checked }, []string{"leaks"})
	for _, leak := range regexp.MustCompile(`leak ([\w.]*\w)`).FindAllStringSubmatch(leaks, -1) {
		name := "leaks." + leak[1]
		if found[name] == "" {
			t.Errorf("%s lets data out, which the walk does not see", leak[1])
		}
		delete(found, name)
	}
	for name, why := range found {
		t.Errorf("%s is said to let data out: %s", name, why)
	}
}

type importing func(path string) *types.Package

func (load importing) Import(path string) (*types.Package, error) { return load(path), nil }
