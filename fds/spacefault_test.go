package fds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

// faultTexts are the faults of a tree, without what all begin with.
func faultTexts(tree *fds.SpaceTree) []string {
	var texts []string
	for _, f := range tree.Faults() {
		texts = append(texts, strings.TrimPrefix(f.Error(), "fds: space "))
	}
	return texts
}

func TestEveryFaultIsReportedAndLeavesATree(t *testing.T) {
	// The building and the site of most, without a fault of their own.
	const around = "s site < void \n b building < s site < void \n"
	for _, test := range []struct {
		name, list string
		tree       string
		faults     []string
	}{
		{"two spaces of one ID", "a room < void \n c room \n a floor < c", "a c", []string{
			`"a": items 0 and 2 of the list have this ID; the first counts`,
		}},
		{"three spaces of one ID", "a room \n a room \n a room", "a", []string{
			`"a": items 0 and 1 of the list have this ID; the first counts`,
			`"a": items 0 and 2 of the list have this ID; the first counts`,
		}},
		{"no ID", "a room \n - room", "a ", []string{
			`"": item 1 of the list has no space_id`,
		}},

		{"part_of in a circle", "a room < b \n b room < c \n c room < a \n d room < b", "a(c(b(d)))", []string{
			`"a": it is part of itself by way of "b" (room); here it is a root`,
		}},
		{"two circles", "a room < b \n b room < a \n c room < d \n d room < c", "a(b) c(d)", []string{
			`"a": it is part of itself by way of "b" (room); here it is a root`,
			`"c": it is part of itself by way of "d" (room); here it is a root`,
		}},
		{"composed_of in a circle", "a room = b \n b room = c \n c room = a", "a(b(c))", []string{
			`"a": it is part of itself by way of "c" (room); here it is a root`,
		}},
		{"the circle ends where only composed_of closes it", "a room < b = c \n b room < c \n c room", "c(b(a))", []string{
			`"c": it is part of itself by way of "a" (room); here it is a root`,
		}},
		{"the circle ends where only another's chain closes it", "a room < b < a \n b room", "b(a)", []string{
			`"b": it is part of itself by way of "a" (room); here it is a root`,
		}},
		{"a circle of spaces that are not listed", "a room < x < y < x", "x?(a y?)", []string{
			`"x": it is part of itself by way of "y"; here it is a root`,
		}},
		{"a circle of sites, which no site may be in", "a site < c \n c site < a", "a(c)", []string{
			`"a": it is part of itself by way of "c" (site); here it is a root`,
			`"c": a site is part of the void, but it is part of "a" (site)`,
		}},

		{"a circle of buildings", "b building < c \n c building < b", "b(c)", []string{
			`"b": it is part of itself by way of "c" (building); here it is a root`,
			`"c": a building is part of a site, but it is part of "b" (building)`,
		}},
		{"a circle that another lists a part of", "a room < b \n b room < a \n c room = a", "a(b) c", []string{
			`"a": it is part of itself by way of "b" (room); here it is a root`,
		}},

		{"part of itself", "a room < a", "a", []string{
			`"a": part_of or composed_of of "a" (room) names the space itself`,
		}},
		{"a chain that names a space twice", around + "f floor < b building < b building < s site < void", "s(b(f))", []string{
			`"b": part_of or composed_of of "f" (floor) names the space itself`,
		}},
		{"composed of itself", "a room = a c \n c room", "a(c)", []string{
			`"a": part_of or composed_of of "a" (room) names the space itself`,
		}},
		{"part of itself in the chain of another", "a room < x < x", "x?(a)", []string{
			`"x": part_of or composed_of of "a" (room) names the space itself`,
			`"a": it is part of "x", which is not in the list, and its chain does not go on to a site`,
		}},

		{"a parent that is nowhere", "a room < x \n c room < x \n d room < a", "x?(a(d) c)", []string{
			`"a": it is part of "x", which is not in the list, and its chain does not go on to a site`,
			`"c": it is part of "x", which is not in the list, and its chain does not go on to a site`,
		}},
		{"a chain that leads nowhere", "a room < x floor < y building", "y?(x?(a))", []string{
			`"a": it is part of "x" (floor), which is not in the list, and its chain does not go on to a site`,
		}},
		{"a chain that leads to a listed space", around + "a room < x floor < b", "s(b(x?(a)))", nil},
		{"a chain that leads to the void", "a room < x hut < void", "x?(a)", nil},
		{"a chain that leads to a site", "a room < x site", "x?(a)", nil},

		{"composed of what is not there", "a room = x", "a", []string{
			`"a": its composed_of names "x", which is not in the list`,
		}},
		{"composed of what only a chain names", "a room < x room \n c room = x", "c(x?(a))", []string{
			`"c": its composed_of names "x" (room), which is not in the list`,
		}},
		{"a child listed twice", "a room = c x c x c \n c room", "a(c)", []string{
			`"a": its composed_of names "x", which is not in the list`,
			`"a": its composed_of names "c" (room) more than once`,
			`"a": its composed_of names "x", which is not in the list`,
			`"a": its composed_of names "c" (room) more than once`,
		}},
		{"a child listed twice and no other", "a room = c c \n c room", "a(c)", []string{
			`"a": its composed_of names "c" (room) more than once`,
		}},
		{"two parents claim a child", "a room = x \n c room = x \n x room \n d room = x", "a(x) c d", []string{
			`"c": it says that "x" (room) is part of "c" (room), but that is part of "a" (room)`,
			`"d": it says that "x" (room) is part of "d" (room), but that is part of "a" (room)`,
		}},

		{"the child says another parent", "a room = c \n c room < d \n d room = c", "a d(c)", []string{
			`"a": it says that "c" (room) is part of "a" (room), but that is part of "d" (room)`,
		}},
		{"the child says the void", "a room = c \n c room < void", "a c", []string{
			`"a": it says that "c" (room) is part of "a" (room), but that is part of nothing`,
		}},
		{"the parent does not list the child", "a room = d \n c room < a \n d room < a", "a(d c)", []string{
			`"a": its composed_of does not name "c" (room), which is part of it`,
		}},
		{"a space lists the void", "r room = " + fds.VoidSpaceID + "\n" + fds.VoidSpaceID + " nothing", "r " + fds.VoidSpaceID, []string{
			`"r": it says that "` + fds.VoidSpaceID + `" is part of "r" (room), but that is part of nothing`,
		}},
		{"the parent does not list what only a chain names", "a room = \n c room < x < a < void", "a(x?(c))", []string{
			`"a": its composed_of does not name "x", which is part of it`,
		}},
		{"the parent lists none", "a room = \n c room < a", "a(c)", []string{
			`"a": its composed_of does not name "c" (room), which is part of it`,
		}},
		{"a chain says another parent of a parent", around + "z site < void \n f floor < b building < z site < void", "s(b(f)) z", []string{
			`"f": it says that "b" (building) is part of "z" (site), but that is part of "s" (site)`,
		}},
		{"a chain leaves a parent out", around + "f floor < b hut < void", "s(b(f))", []string{
			`"f": it says that "b" (building) is part of nothing, but that is part of "s" (site)`,
		}},
		{"two chains differ", "f floor < b building < s site \n g floor < b building < z site", "s?(b?(f g)) z?", []string{
			`"g": it says that "b" (building) is part of "z" (site), but that is part of "s" (site)`,
		}},
		{"a chain adds a parent", "s hut < void \n r room < s hut < z hut < void", "s(r) z?", []string{
			`"r": it says that "s" is part of "z", but that is part of nothing`,
		}},
		{"a suite lists what is elsewhere", "s - < void \n u suite < s = r \n r room < s", "s(u r)", nil},
		{"the space around a suite lists what is in it", "s room < void = u r \n u suite < s \n r room < u", "s(u(r))", nil},
		{"a space beside a suite lists what is in it", "s room < void \n t room < void = r \n u suite < s \n r room < u", "s(u(r)) t", []string{
			`"t": it says that "r" (room) is part of "t" (room), but that is part of "u" (suite)`,
		}},

		{"a site in a site", "s site < void \n z site < s", "s(z)", []string{
			`"z": a site is part of the void, but it is part of "s" (site)`,
		}},
		{"a site in a space of a type unknown", "s zone < void \n z site < s", "s(z)", []string{
			`"z": a site is part of the void, but it is part of "s"`,
		}},
		{"a site that another lists", "r room < void = z \n z site", "r(z)", []string{
			`"z": a site is part of the void, but it is part of "r" (room)`,
		}},
		{"a building in the void", "b building < void", "b", []string{
			`"b": a building is part of a site, but it is part of nothing`,
		}},
		{"a building that is nowhere", "b building", "b", []string{
			`"b": a building is part of a site, but it is part of nothing`,
		}},
		{"a type that only a chain says of a listed space", "f - \n b building < f floor", "f(b)", nil},
		{"a building in a building", around + "c building < b", "s(b(c))", []string{
			`"c": a building is part of a site, but it is part of "b" (building)`,
		}},
		{"a building in a room that lists it", "r room < void = c \n c building", "r(c)", []string{
			`"c": a building is part of a site, but it is part of "r" (room)`,
		}},
		{"a building of a chain", "f floor < b building < r room < void", "r?(b?(f))", []string{
			`"b": a building is part of a site, but it is part of "r" (room)`,
		}},
		{"a building of a chain, in the void", "f floor < b building < void", "b?(f)", []string{
			`"b": a building is part of a site, but it is part of nothing`,
		}},
		{"a floor in a site", "s site < void \n f floor < s", "s(f)", []string{
			`"f": a floor is part of a building, but it is part of "s" (site)`,
		}},
		{"a floor in the void", "f floor < void", "f", []string{
			`"f": a floor is part of a building, but it is part of nothing`,
		}},
		{"a floor whose chain ends early", around + "f floor < b", "s(b(f))", []string{
			`"f": the chain of a floor names building and site, but its part_of ends at "b" (building)`,
		}},
		{"a floor whose building is nowhere", "f floor < b building", "b?(f)", []string{
			`"f": it is part of "b" (building), which is not in the list, and its chain does not go on to a site`,
		}},
		{"a suite in the void", "u suite < void", "u", []string{
			`"u": a suite is part of a larger space, but it is part of nothing`,
		}},
		{"a section that is nowhere", "u section", "u", []string{
			`"u": a section is part of a larger space, but it is part of nothing`,
		}},
		{"a room in the void", "r room < void", "r", nil},
		{"a type unknown in the void", "r carpark < void \n q carpark", "r q", nil},

		{"a site composed of a floor", "s site < void = f \n f floor", "s(f)", []string{
			`"s": a site is composed of buildings, but its composed_of names "f" (floor)`,
		}},
		{"a building composed of a room", "s site < void \n b building < s = r \n r room", "s(b(r))", []string{
			`"b": a building is composed of floors, but its composed_of names "r" (room)`,
		}},
		{"a floor composed of a suite", around + "f floor < b < s = u r \n u suite < f < b \n r aisle < f < b", "s(b(f(u r)))", []string{
			`"f": a floor is composed of physical spaces, but its composed_of names "u" (suite)`,
		}},
		{"a site composed of a type unknown", "s site < void = k \n k kiosk", "s(k)", nil},
		{"what a site does not list, being no building", "s site < void = \n r room < s", "s(r)", nil},
		{"what a floor does not list, being logical", around + "f floor < b < s = \n u suite < f < b", "s(b(f(u)))", nil},
	} {
		tree := treeFrom(t, test.list)
		faults := faultTexts(tree)
		if got := outline(tree); got != test.tree {
			t.Errorf("%s: %s, want %s", test.name, got, test.tree)
		}
		if !slices.Equal(faults, test.faults) || tree.FaultCount() != len(faults) {
			t.Errorf("%s: %d faults, %q, want %q", test.name, tree.FaultCount(), faults, test.faults)
		}
		for _, f := range tree.Faults() {
			var named []string // by the sentence
			for _, quoted := range regexp.MustCompile(`"[^"]*"`).FindAllString(f.Problem, -1) {
				if id := strings.Trim(quoted, `"`); id != f.Space {
					named = append(named, id)
				}
			}
			if !slices.Equal(f.Others, named) || errors.Is(f, fds.ErrItem) {
				t.Errorf("%s: %v of the others %q", test.name, f, f.Others)
			}
		}
	}
}

func TestAMalformedSpaceFallsBackToWhatOthersSay(t *testing.T) {
	const id = `{"space_id":"a","generic":{"space_type":"building","part_of":`
	for _, test := range []struct {
		name, space, others string
		tree, says          string
	}{
		{"part_of is a text", id + `"b"}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of of space "a": malformed item: it is not a JSON object`},
		{"part_of is a text, and nobody knows", id + `"b"}}`, "p site < void", "a p", `fds: space "a": generic.part_of of space "a": malformed item: it is not a JSON object`},
		{"a chain that breaks off", id + `{"space_id":"b","generic":{"part_of":7}}}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of of space "b": malformed item: it is not a JSON object`},
		{"a chain too long", id + chainOf(fds.MaxChain+1, void) + `}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of of space "65": malformed item: over 64 spaces in the chain`},
		{"a chain without an ID", id + `{"generic":{"space_type":"site"}}}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of: malformed item: space 0 of the chain has no space_id`},
		{"a chain with an ID that is true", id + `{"space_id":true}}}`, "r floor < a building < p site", "p?(a(r))", `fds: space "a": generic.part_of: malformed item: space 0 of the chain has no space_id`},
		{"a chain whose second space has no ID", id + `{"space_id":"p","generic":{"space_type":"site","part_of":{"generic":{"part_of":` + void + `}}}}}}`, "p site < void", "p(a)", `fds: space "a": generic.part_of: malformed item: space 1 of the chain has no space_id`},
		{"composed_of is a text", id + `{"space_id":"p","generic":{"space_type":"site"}},"composed_of":"f"}}`, "p site < void \n f floor < a building < p site", "p(a(f))", `fds: space "a": generic.composed_of: malformed item: it does not fit []json.RawMessage`},
	} {
		spaces := []fds.Space{mustSpace(t, test.space)}
		for line := range strings.Lines(test.others) {
			spaces = append(spaces, spaceFrom(t, strings.TrimSpace(line)))
		}
		tree := fds.NewSpaceTree(spaces)
		if got := outline(tree); got != test.tree {
			t.Errorf("%s: %s, want %s", test.name, got, test.tree)
		}
		if faults := tree.Faults(); len(faults) != 1 || faults[0].Error() != test.says || !errors.Is(faults[0], fds.ErrItem) || faults[0].Space != "a" {
			t.Errorf("%s: %q, want %s", test.name, faults, test.says)
		}
	}
}

func TestTheZeroSpaceIsOneWithoutAnID(t *testing.T) {
	tree := fds.NewSpaceTree(make([]fds.Space, 2))
	want := []string{`"": item 0 of the list has no space_id`, `"": item 1 of the list has no space_id`}
	if got := faultTexts(tree); outline(tree) != " " || !slices.Equal(got, want) {
		t.Errorf("%q, %q", outline(tree), got)
	}
	if n, ok := tree.Space(""); ok {
		t.Errorf("a space without an ID was found: %v", n)
	}
	if errors.Is(tree.Faults()[0], fds.ErrItem) {
		t.Error("a missing ID is taken for a malformed part_of")
	}
}

func TestAttackAFloodOfOneFaultHidesNoOther(t *testing.T) {
	const flood, bound = 300, 100
	list := "a room < b \n b room < a \n p room ="
	for i := range flood {
		list += fmt.Sprint(" x", i)
	}
	tree := treeFrom(t, list)
	kept := make(map[string]int)
	for _, f := range tree.Faults() {
		kept[problemOf(f)]++
	}
	if kept["its composed_of names %s, which is not in the list"] != bound ||
		kept["it is part of itself by way of %s; here it is a root"] != 1 || tree.FaultCount() != flood+1 {
		t.Errorf("%d faults, kept %v", tree.FaultCount(), kept)
	}
}

func TestAttackAHostileSpaceIsASafeSentenceOfBoundedLength(t *testing.T) {
	id := func(i int) string {
		text, err := json.Marshal(fmt.Sprint(i) + strings.Repeat("\x1b[2J\n\u202e", 100))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var spaces []fds.Space
	const circle = 1000
	for i := range circle {
		spaces = append(spaces, mustSpace(t, fmt.Sprintf(`{"space_id":%[1]s,"generic":{"space_type":%[1]s,"part_of":{"space_id":%[2]s},"composed_of":[%[1]s,"x",%[2]s,%[2]s]}}`, id(i), id((i+1)%circle))))
	}
	tree := fds.NewSpaceTree(spaces)
	if tree.FaultCount() == 0 {
		t.Fatal("no fault")
	}
	for _, f := range tree.Faults() {
		text := f.Error()
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || len(text) > 1000 {
			t.Fatalf("%d bytes: %.400q", len(text), text)
		}
	}
}

// problemOf is the sentence of a fault with %s for each space, and so its kind.
func problemOf(f fds.SpaceFault) string {
	return regexp.MustCompile(`"(\\.|[^"\\])*"( \(cut, \d+ bytes\))?( \([a-z]+\))?`).ReplaceAllString(f.Problem, "%s")
}
