package fds_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

const void = `{"space_id":"` + fds.VoidSpaceID + `","generic":{"space_type":"nothing"}}`

func mustSpace(t testing.TB, data string) fds.Space {
	t.Helper()
	space, err := fds.ParseSpace([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return space
}

// chainOf nests spaces, the innermost given; their IDs are 1 (outermost) to n.
func chainOf(n int, innermost string) string {
	var before, after strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&before, `{"space_id":"%d","generic":{"space_type":"section","part_of":`, i)
		after.WriteString("}}")
	}
	return before.String() + innermost + after.String()
}

func TestAFloorIsPartOfABuildingAndASite(t *testing.T) {
	floor := mustSpace(t, `{"space_id":"f","generic":{"space_type":"floor","part_of":
		{"space_id":"b","generic":{"space_type":"building","part_of":
			{"space_id":"s","extra":[1],"generic":{"space_type":"site","part_of":`+void+`}}}}}}`)
	chain, err := floor.PartOf()
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d spaces, %v", len(chain), err)
	}
	for i, want := range []struct {
		id   string
		kind fds.SpaceType
	}{{"b", fds.SpaceBuilding}, {"s", fds.SpaceSite}} {
		if chain[i].ID() != want.id || chain[i].Type() != want.kind || chain[i].IsVoid() {
			t.Errorf("space %d is %q, %q", i, chain[i].ID(), chain[i].Type())
		}
	}
	if extra, ok := chain[1].Member("extra"); !ok || string(extra) != "[1]" {
		t.Errorf("the site of the chain lost a member: %s", extra)
	}
	if floor.ID() != "f" || floor.Type() != fds.SpaceFloor {
		t.Errorf("the floor is %q, %q", floor.ID(), floor.Type())
	}
}

func TestAChainEndsAtTheVoidAtNullAndAtNothing(t *testing.T) {
	for _, test := range []struct {
		data string
		ids  []string
	}{
		{`{}`, nil},
		{`{"generic":{}}`, nil},
		{`{"generic":null}`, nil},
		{`{"generic":{"part_of":null}}`, nil},
		{`{"generic":{"part_of":` + void + `}}`, nil},
		{`{"generic":{"part_of":{"space_id":"` + fds.VoidSpaceID + `"}}}`, nil},
		{`{"generic":{"part_of":{"generic":{"space_type":"nothing","part_of":{"space_id":"beyond"}}}}}`, nil},
		{`{"generic":{"part_of":{"space_id":"a"}}}`, []string{"a"}},
		{`{"generic":{"part_of":{"space_id":"a"},"part_of":{"space_id":"b"}}}`, []string{"b"}},
		{`{"generic":{"part_of":{"space_id":"a"}},"generic":{}}`, nil},
		{`{"generic":{"part_of":7},"generic":{}}`, nil},
		{`{"generic":{"part_of":{"space_id":"a","generic":{"space_type":"nothing"},"generic":{}}}}`, []string{"a"}},
		{`{"generic":{"part_of":{"space_id":"a","space_type":"nothing","generic":{"space_type":""}}}}`, []string{"a"}}, // as Type has it
		{`{"part_of":{"space_id":"a"}}`, nil},                                                                          // FDS puts it into generic
	} {
		chain, err := mustSpace(t, test.data).PartOf()
		var ids []string
		for _, space := range chain {
			ids = append(ids, space.ID())
		}
		if err != nil || !slices.Equal(ids, test.ids) {
			t.Errorf("%s: %q, %v, want %q", test.data, ids, err, test.ids)
		}
	}
}

func TestAChainOfAnotherKindOrTooLongIsMalformed(t *testing.T) {
	for _, data := range []string{`{"generic":{"part_of":[]}}`, `{"generic":{"part_of":"a"}}`, `{"generic":{"part_of":7}}`, chainOf(3, "false")} {
		if chain, err := mustSpace(t, data).PartOf(); !errors.Is(err, fds.ErrItem) || chain != nil {
			t.Errorf("%s: %d spaces, %v", data, len(chain), err)
		}
	}
	if chain, err := mustSpace(t, chainOf(fds.MaxChain+1, void)).PartOf(); err != nil || len(chain) != fds.MaxChain {
		t.Errorf("the longest chain: %d spaces, %v", len(chain), err)
	}
	if chain, err := mustSpace(t, chainOf(fds.MaxChain+2, void)).PartOf(); !errors.Is(err, fds.ErrItem) || chain != nil {
		t.Errorf("a chain one too long: %d spaces, %v", len(chain), err)
	}
}

// hostileChains are as large as an item may be and as deep as JSON may be.
func hostileChains() map[string]string {
	const size = 1 << 20
	pad := func(n int) string { return `{"space_id":"a","x":[` + strings.Repeat("[],", n/3) + `[]]}` }
	return map[string]string{
		"deep":          chainOf(4990, pad(size-4990*60)),
		"fat innermost": chainOf(fds.MaxChain, pad(size)),
		"many members":  chainOf(fds.MaxChain, `{"space_id":"a"`+strings.Repeat(`,"a":1`, size/6)+`}`),
		"many escapes":  chainOf(fds.MaxChain, `{"space_id":"`+strings.Repeat(`\\\"`, size/4)+`"}`),
	}
}

func TestAttackAHostileChainTakesLinearTime(t *testing.T) {
	fastest := func(do func()) time.Duration {
		best := time.Duration(math.MaxInt64)
		for range 10 { // the machine may be busy with something else
			start := time.Now()
			do()
			best = min(best, time.Since(start))
		}
		return best
	}
	for name, data := range hostileChains() {
		space := mustSpace(t, data)
		parse := fastest(func() { mustSpace(t, data) })
		walk := fastest(func() { _, _ = space.PartOf() })
		// About as long as parsing; a hundred times that, when each step down the chain reads the
		// rest again.
		if walk > 25*parse {
			t.Errorf("%s: %d bytes took %v, parsing them %v", name, len(data), walk, parse)
		}
		t.Logf("%s: %v, parsing %v", name, walk, parse)
	}
}

func BenchmarkPartOfHostileChain(b *testing.B) {
	for name, data := range hostileChains() {
		b.Run(name, func(b *testing.B) {
			space := mustSpace(b, data)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = space.PartOf()
			}
		})
	}
}

func TestComposedOfListsTheSpacesInside(t *testing.T) {
	for _, test := range []struct {
		data  string
		ids   []string
		class error
	}{
		{`{"generic":{"composed_of":["a","b"]},"composed_of":["c"]}`, []string{"a", "b"}, nil},
		{`{"generic":{},"composed_of":["c"]}`, []string{"c"}, nil},
		{`{"generic":{"composed_of":[]}}`, nil, nil},
		{`{"generic":{"composed_of":null}}`, nil, nil},
		{`{}`, nil, nil},
		{`{"generic":{"composed_of":"a"}}`, nil, fds.ErrItem},
		{`{"generic":{"composed_of":["a",1]}}`, []string{"a", "1"}, nil},
		{`{"generic":{"composed_of":["a",null]}}`, []string{"a", ""}, nil},
		{`{"generic":{"composed_of":["a",true]}}`, nil, fds.ErrItem},
		{`{"generic":{"composed_of":{"space_id":"a"}}}`, nil, fds.ErrItem},
	} {
		ids, err := mustSpace(t, test.data).ComposedOf()
		if !slices.Equal(ids, test.ids) || !errors.Is(err, test.class) {
			t.Errorf("%s: %q, %v", test.data, ids, err)
		}
	}
}

// partOfSlowly goes down the chain member by member.
func partOfSlowly(s fds.Space) ([]fds.Space, error) {
	var chain []fds.Space
	for {
		raw, ok := s.Member("generic", "part_of")
		if !ok || string(raw) == "null" {
			return chain, nil
		}
		next, err := fds.ParseSpace(raw)
		if err != nil || !next.IsVoid() && len(chain) == fds.MaxChain {
			return nil, fmt.Errorf("not a chain: %w", err)
		}
		if next.IsVoid() {
			return chain, nil
		}
		chain = append(chain, next)
		s = next
	}
}

func sameBytes(a, b fds.Space) bool { return string(a.Raw()) == string(b.Raw()) }

func FuzzPartOf(f *testing.F) {
	f.Add([]byte(chainOf(2, void)))
	f.Add([]byte(chainOf(2, "[]")))
	f.Add([]byte(`{"generic":{"space_type":"nothing","part_of":{"space_type":"nothing"},"space_type":7},"space_type":"site"}`))
	f.Add([]byte(` {"generic":{"part_of":1},"generic":{"part_of":{"space_id":1,"space_id":"\u0061"},"space_id":2}} `))
	f.Add([]byte(`{"generic":{"part_of":{"generic":{"part_of":null},"generic":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		space, err := fds.ParseSpace(data)
		if err != nil {
			return
		}
		chain, err := space.PartOf()
		if err != nil && !errors.Is(err, fds.ErrItem) || len(chain) > fds.MaxChain {
			t.Fatalf("%d spaces, %v", len(chain), err)
		}
		for _, outer := range chain {
			if _, err := fds.ParseSpace(outer.Raw()); err != nil || outer.IsVoid() {
				t.Fatalf("%q in the chain: %v", outer.Raw(), err)
			}
		}
		if want, wantErr := partOfSlowly(space); (err == nil) != (wantErr == nil) || err == nil && !slices.EqualFunc(chain, want, sameBytes) {
			t.Fatalf("%q: %d spaces, %v; step by step %d, %v", data, len(chain), err, len(want), wantErr)
		}
		if _, err := space.ComposedOf(); err != nil && !errors.Is(err, fds.ErrItem) {
			t.Fatal(err)
		}
	})
}
