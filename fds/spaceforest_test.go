package fds_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// wild is a space of a made-up forest, before anything is broken.
type wild struct {
	id     string
	kind   fds.SpaceType
	around *wild
	within []*wild
}

// inside is what may be in what.
var inside = map[fds.SpaceType][]fds.SpaceType{
	"":                {fds.SpaceSite},
	fds.SpaceSite:     {fds.SpaceBuilding},
	fds.SpaceBuilding: {fds.SpaceFloor},
	fds.SpaceFloor:    {fds.SpaceRoom, fds.SpaceRestroom, fds.SpaceHallway, "atrium"},
	fds.SpaceRoom:     {fds.SpaceSuite, fds.SpaceSection, fds.SpaceAisle},
	fds.SpaceRestroom: {fds.SpaceToilet, fds.SpaceCubicle},
}

// grow makes up a forest of n spaces, parents first.
func grow(r *rand.Rand, n int) []*wild {
	var forest []*wild
	for i := range n {
		w := &wild{id: fmt.Sprint("s", i)}
		if i > 0 && r.IntN(10) > 0 {
			w.around = forest[max(0, i-1-r.IntN(8))]
		}
		if w.around == nil || inside[w.around.kind] == nil {
			w.around = nil
			w.kind = fds.SpaceSite
		} else {
			kinds := inside[w.around.kind]
			w.kind = kinds[r.IntN(len(kinds))]
			w.around.within = append(w.around.within, w)
		}
		forest = append(forest, w)
	}
	return forest
}

func (w *wild) partOf() string {
	if w == nil {
		return void
	}
	return fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":%q,"part_of":%s}}`, w.id, w.kind, w.around.partOf())
}

func (w *wild) json(partOf string, composedOf []string) string {
	text := fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":%q`, w.id, w.kind)
	if partOf != "" {
		text += `,"part_of":` + partOf
	}
	if composedOf != nil {
		parts, _ := json.Marshal(composedOf)
		text += `,"composed_of":` + string(parts)
	}
	return text + "}}"
}

// parts are what composed_of should name: no suite or section.
func (w *wild) parts() []string {
	parts := []string{}
	for _, in := range w.within {
		if in.kind != fds.SpaceSuite && in.kind != fds.SpaceSection {
			parts = append(parts, in.id)
		}
	}
	return parts
}

// listOf writes a forest down, in any order, sometimes with only one of the two
// statements of a parent.
func listOf(t testing.TB, r *rand.Rand, forest []*wild) []fds.Space {
	t.Helper()
	style := r.IntN(3)
	var spaces []fds.Space
	for _, w := range forest {
		partOf, parts := w.around.partOf(), w.parts()
		switch {
		case style == 1:
			parts = nil
		case style == 2 && w.kind != fds.SpaceSuite && w.kind != fds.SpaceSection:
			partOf = ""
		}
		spaces = append(spaces, mustSpace(t, w.json(partOf, parts)))
	}
	r.Shuffle(len(spaces), func(i, j int) { spaces[i], spaces[j] = spaces[j], spaces[i] })
	return spaces
}

// corrupt breaks some spaces of a list.
func corrupt(t testing.TB, r *rand.Rand, forest []*wild, spaces []fds.Space) []fds.Space {
	t.Helper()
	any := func() *wild { return forest[r.IntN(len(forest))] }
	ids := func() []string {
		list := []string{}
		for range r.IntN(5) {
			list = append(list, any().id)
		}
		return append(list, []string{"nowhere", "", fds.VoidSpaceID}[:r.IntN(4)]...)
	}
	kinds := []fds.SpaceType{fds.SpaceSite, fds.SpaceBuilding, fds.SpaceFloor, fds.SpaceSuite, fds.SpaceSection, fds.SpaceRoom, fds.SpaceNothing, "", "dome"}
	for range 1 + r.IntN(len(spaces)) {
		i := r.IntN(len(spaces))
		w := *any()
		if r.IntN(3) == 0 {
			w.kind = kinds[r.IntN(len(kinds))]
		}
		partOf := any().partOf()
		switch r.IntN(12) {
		case 0:
			partOf = "7"
		case 1:
			partOf = ""
		case 2: // the direct parent alone, which makes long circles
			partOf = fmt.Sprintf(`{"space_id":%q}`, any().id)
		case 3:
			partOf = fmt.Sprintf(`{"space_id":"x%d","generic":{"part_of":%s}}`, r.IntN(5), any().partOf())
		case 4:
			partOf = fmt.Sprintf(`{"space_id":"x%d","generic":{"part_of":{"space_id":"x%d"}}}`, r.IntN(5), r.IntN(5))
		case 5:
			partOf = fmt.Sprintf(`{"space_id":%q,"generic":{"part_of":{"space_id":%q}}}`, any().id, any().id)
		case 6:
			w.id = []string{"", fds.VoidSpaceID, any().id}[r.IntN(3)]
		case 7:
			spaces = slices.Delete(spaces, i, i+1)
			if len(spaces) == 0 {
				return spaces
			}
			continue
		}
		space := mustSpace(t, w.json(partOf, [][]string{nil, w.parts(), ids()}[r.IntN(3)]))
		if r.IntN(2) == 0 {
			spaces[i] = space
		} else {
			spaces = slices.Insert(spaces, i, space)
		}
	}
	return spaces
}

// mustBeATree checks what holds of the tree of any list.
func mustBeATree(t testing.TB, spaces []fds.Space) *fds.SpaceTree {
	t.Helper()
	tree := fds.NewSpaceTree(spaces)
	missing := make(map[string]bool) // of the list
	anonymous := 0
	for _, s := range spaces {
		if s.ID() == "" {
			anonymous++
		} else {
			missing[s.ID()] = true
		}
	}
	inList := maps.Clone(missing)
	seen := make(map[*fds.SpaceNode]bool)
	roots := make(map[string]bool)
	for _, f := range tree.Faults() {
		if strings.Contains(f.Problem, "; here it is a root") {
			roots[f.Space] = true
		}
		if f.Space != "" && slices.Contains(f.Others, f.Space) {
			t.Fatalf("a space is another than itself: %v", f)
		}
	}
	var order []*fds.SpaceNode
	var check func(n, parent *fds.SpaceNode, depth int)
	check = func(n, parent *fds.SpaceNode, depth int) {
		if seen[n] || n.Parent() != parent || n.Depth() != depth {
			t.Fatalf("%q is there twice, or its parent %v or its depth %d is wrong", n.ID(), n.Parent(), n.Depth())
		}
		seen[n] = true
		switch {
		case n.ID() != n.Space.ID() || n.Type() != n.Space.Type():
			t.Fatalf("%q %q is %q %q", n.Space.ID(), n.Space.Type(), n.ID(), n.Type())
		case n.Listed() && n.ID() == "":
			anonymous--
		case n.Listed() != inList[n.ID()] || n.Listed() && !missing[n.ID()]:
			t.Fatalf("%q is listed %v, or there twice", n.ID(), n.Listed())
		}
		delete(missing, n.ID())
		if found, _ := tree.Space(n.ID()); n.ID() != "" && found != n {
			t.Fatalf("%q is not found by its ID", n.ID())
		}
		nearest := make(map[fds.SpaceType]*fds.SpaceNode)
		nearest[n.Type()] = n
		at := parent
		for ; at != nil; at = at.Parent() {
			if nearest[at.Type()] == nil {
				nearest[at.Type()] = at
			}
		}
		if n.Site() != nearest[fds.SpaceSite] || n.Building() != nearest[fds.SpaceBuilding] || n.Floor() != nearest[fds.SpaceFloor] {
			t.Fatalf("%q is in a wrong site, building or floor", n.ID())
		}
		if chain, err := n.PartOf(); n.Listed() && !n.IsVoid() && err == nil && len(chain) > 0 && chain[0].ID() != "" && chain[0].ID() != n.ID() && !roots[n.ID()] {
			if outer, ok := tree.Space(chain[0].ID()); !ok || n.Parent() != outer && !outer.IsVoid() {
				t.Fatalf("%q is not in %q", n.ID(), chain[0].ID())
			}
		}
		order = append(order, n)
		for _, child := range n.Children() {
			check(child, n, depth+1)
		}
	}
	for _, root := range tree.Roots() {
		check(root, nil, 0)
	}
	if !slices.Equal(order, slices.Collect(tree.All())) {
		t.Fatal("the tree is out of order")
	}
	if len(missing) > 0 || anonymous != 0 {
		t.Fatalf("not in the tree: %v, and %d without an ID", missing, anonymous)
	}
	if tree.FaultCount() < len(tree.Faults()) {
		t.Fatalf("%d faults of %d", len(tree.Faults()), tree.FaultCount())
	}
	if again := fds.NewSpaceTree(spaces); outline(again) != outline(tree) || !slices.Equal(faultTexts(again), faultTexts(tree)) {
		t.Fatal("another tree of the same list")
	}
	return tree
}

func TestAnyForestIsFoundAgainWhatever(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := make(map[string]int)
	for range 500 {
		forest := grow(r, 1+r.IntN(40))
		spaces := listOf(t, r, forest)
		tree := mustBeATree(t, spaces)
		if len(tree.Faults()) > 0 {
			t.Fatalf("%v of\n%s", tree.Faults()[0], raws(spaces))
		}
		for _, w := range forest {
			n, ok := tree.Space(w.id)
			if !ok || (n.Parent() == nil) != (w.around == nil) || w.around != nil && n.Parent().ID() != w.around.id || n.Type() != w.kind {
				t.Fatalf("%s is not where it grew; the list:\n%s", w.id, raws(spaces))
			}
		}
		for _, f := range mustBeATree(t, corrupt(t, r, forest, spaces)).Faults() {
			kinds[problemOf(f)]++
		}
	}
	for _, want := range []string{
		"have this ID", "of the list has no space_id", fds.ErrItem.Error(), "names the space itself", "more than once",
		"names %s, which is not in the list", "does not go on to a site", "here it is a root",
		"it says that", "does not name", "is composed of", "is part of a", "its part_of ends at",
	} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(kinds)), func(kind string) bool {
			return strings.Contains(kind, want)
		}) {
			t.Errorf("no fault came of the kind %q: %v", want, kinds)
		}
	}
}

func raws(spaces []fds.Space) string {
	var b strings.Builder
	for _, s := range spaces {
		b.Write(s.Raw())
		b.WriteByte('\n')
	}
	return b.String()
}

func FuzzSpaceTree(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		forest := grow(r, 6)
		spaces := corrupt(f, r, forest, listOf(f, r, forest))
		data, err := json.Marshal(spaces)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`[{"space_id":"a","generic":{"part_of":{"space_id":"b"},"composed_of":["b","b","a"]}},{"space_id":"b","generic":{"part_of":{"space_id":"a"}}},{}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var items []json.RawMessage
		if json.Unmarshal(data, &items) != nil {
			return
		}
		var spaces []fds.Space
		for _, item := range items {
			if space, err := fds.ParseSpace(item); err == nil {
				spaces = append(spaces, space)
			}
		}
		for _, fault := range mustBeATree(t, spaces).Faults() {
			if strings.ContainsFunc(fault.Error(), func(r rune) bool { return r < ' ' }) {
				t.Fatalf("%q", fault.Error())
			}
		}
	})
}

// largeLists are of n spaces each, such as to make a careless program slow.
func largeLists(t testing.TB, n int) map[string][]fds.Space {
	t.Helper()
	lists := make(map[string][]fds.Space)
	add := func(name, format string, args ...any) {
		lists[name] = append(lists[name], mustSpace(t, fmt.Sprintf(format, args...)))
	}
	every := make([]string, n)
	for i := range every {
		every[i] = fmt.Sprint("s", i)
	}
	parts, err := json.Marshal(every)
	if err != nil {
		t.Fatal(err)
	}
	const inner = `{"space_id":"s%d","generic":{"space_type":"%s","part_of":{"space_id":"s%d"}}}`
	for i := range n {
		add("one in another", inner, i+1, "room", i)
		add("one in another, backwards", inner, n-i, "room", n-i-1)
		add("one circle", inner, i, "room", (i+1)%n)
		add("a composed_of each", `{"space_id":"s%d","generic":{"composed_of":["s%d"]}}`, i, i+1)
		add("pairs of a long chain that is not listed", `{"space_id":"s%d","generic":{"part_of":{"space_id":"x%d","generic":{"part_of":{"space_id":"x%d"}}}}}`, i, i, i+1)
		add("sections in sections", inner, i+1, "section", i)
		add("the same ID", `{"space_id":"s"}`)
		add("no ID", `{}`)
		add("all in one", `{"space_id":"s%d","generic":{"space_type":"room","part_of":{"space_id":"all"}}}`, i)
	}
	for _, name := range []string{"sections in sections", "all in one"} {
		add(name, `{"space_id":"all","generic":{"space_type":"room","composed_of":%s}}`, parts)
	}
	return lists
}

func TestAttackAnyLargeListTakesLinearTime(t *testing.T) {
	const tries = 5 // the machine may be busy with something else
	for name, spaces := range largeLists(t, 20_000) {
		for try := 1; ; try++ {
			start := time.Now()
			for _, s := range spaces {
				mustSpace(t, string(s.Raw()))
			}
			parse := time.Since(start)
			start = time.Now()
			tree := fds.NewSpaceTree(spaces)
			build := time.Since(start)
			t.Logf("%s: %v, parsing %v; %v", name, build, parse, tree)
			// A few times as long as parsing; thousands of times, when each space costs a look at
			// all.
			if build <= 25*parse {
				break
			}
			if try == tries {
				t.Errorf("%s: the tree took %v, parsing its spaces %v", name, build, parse)
				break
			}
		}
	}
}

// estate is a list as large as a very large owner's.
func estate(t testing.TB, n int) []fds.Space {
	var spaces []fds.Space
	r := rand.New(rand.NewPCG(3, 4))
	for len(spaces) < n {
		site := &wild{id: fmt.Sprintf("%032x", len(spaces)), kind: fds.SpaceSite}
		all := []*wild{site}
		in := func(around *wild, kind fds.SpaceType) *wild {
			w := &wild{id: fmt.Sprintf("%032x", len(spaces)+len(all)), kind: kind, around: around}
			around.within = append(around.within, w)
			all = append(all, w)
			return w
		}
		for range 4 {
			building := in(site, fds.SpaceBuilding)
			for range 5 {
				floor := in(building, fds.SpaceFloor)
				for range 20 {
					room := in(floor, fds.SpaceRestroom)
					for range 4 {
						in(room, fds.SpaceCubicle)
					}
				}
			}
		}
		for _, w := range all {
			spaces = append(spaces, mustSpace(t, w.json(w.around.partOf(), w.parts())))
		}
	}
	spaces = spaces[:n]
	r.Shuffle(len(spaces), func(i, j int) { spaces[i], spaces[j] = spaces[j], spaces[i] })
	return spaces
}

func BenchmarkSpaceTree(b *testing.B) {
	spaces := estate(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		fds.NewSpaceTree(spaces)
	}
}
