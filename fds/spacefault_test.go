package fds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

func faultTexts(tree *fds.SpaceTree) []string {
	var texts []string
	for _, f := range tree.Faults() {
		texts = append(texts, fmt.Sprintf("%s %s %v", f.Kind, f.Space, f.Others))
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
		says       string
	}{
		{"two spaces of one ID", "a room < void \n c room \n a floor < c", "a c",
			[]string{"duplicate a []"}, `fds: space "a": items 0 and 2 of the list have this ID; the first counts`},
		{"three spaces of one ID", "a room \n a room \n a room", "a", []string{"duplicate a []", "duplicate a []"}, ""},
		{"no ID", "a room \n - room", "a ", []string{"no_id  []"}, `fds: space "": item 1 of the list has no space_id`},

		{"part_of in a circle", "a room < b \n b room < c \n c room < a \n d room < b", "a(c(b(d)))",
			[]string{"cycle a [b c]"}, `fds: space "a": it is part of itself by way of "b", "c"; here it is a root`},
		{"two circles", "a room < b \n b room < a \n c room < d \n d room < c", "a(b) c(d)", []string{"cycle a [b]", "cycle c [d]"}, ""},
		{"composed_of in a circle", "a room = b \n b room = c \n c room = a", "a(b(c))", []string{"cycle a [c b]"}, ""},
		{"the circle ends where only composed_of closes it", "a room < b = c \n b room < c \n c room", "c(b(a))", []string{"cycle c [a b]"}, ""},
		{"the circle ends where only another's chain closes it", "a room < b < a \n b room", "b(a)", []string{"cycle b [a]"}, ""},
		{"a circle of spaces that are not listed", "a room < x < y < x", "x?(a y?)", []string{"cycle x [y]"}, ""},
		{"a circle of sites, which no site may be in", "a site < c \n c site < a", "a(c)", []string{"cycle a [c]", "misplaced c [a]"}, ""},

		{"a circle of buildings", "b building < c \n c building < b", "b(c)", []string{"cycle b [c]", "misplaced c [b]"}, ""},
		{"a circle that another lists a part of", "a room < b \n b room < a \n c room = a", "a(b) c", []string{"cycle a [b]"}, ""},

		{"part of itself", "a room < a", "a", []string{"self a []"}, `fds: space "a": its part_of names the space itself`},
		{"composed of itself", "a room = a c \n c room", "a(c)", []string{"self a []"}, `fds: space "a": its composed_of names the space itself`},
		{"part of itself in the chain of another", "a room < x < x", "x?(a)", []string{"self x []", "orphan a [x]"}, `fds: space "x": part_of of "a" says that it is part of itself`},

		{"a parent that is nowhere", "a room < x \n c room < x \n d room < a", "x?(a(d) c)",
			[]string{"orphan a [x]", "orphan c [x]"}, `fds: space "a": it is part of "x", which is not in the list, and its chain does not go on to a site`},
		{"a chain that leads nowhere", "a room < x floor < y building", "y?(x?(a))", []string{"orphan a [x]"}, ""},
		{"a chain that leads to a listed space", around + "a room < x floor < b", "s(b(x?(a)))", nil, ""},
		{"a chain that leads to the void", "a room < x hut < void", "x?(a)", nil, ""},
		{"a chain that leads to a site", "a room < x site", "x?(a)", nil, ""},

		{"composed of what is not there", "a room = x", "a", []string{"unlisted a [x]"}, `fds: space "a": its composed_of names "x", which is not in the list`},
		{"composed of what only a chain names", "a room < x room \n c room = x", "c(x?(a))", []string{"unlisted c [x]"}, ""},
		{"a child listed twice", "a room = c x c x c \n c room", "a(c)",
			[]string{"unlisted a [x]", "repeated a [c]", "repeated a [x]"}, ""},
		{"a child listed twice and no other", "a room = c c \n c room", "a(c)", []string{"repeated a [c]"}, `fds: space "a": its composed_of names "c" more than once`},
		{"two parents claim a child", "a room = x \n c room = x \n x room \n d room = x", "a(x) c d",
			[]string{"contested x [a c]", "contested x [a d]"}, `fds: space "x": it is in the composed_of of both "a" and "c", and no part_of decides`},

		{"the child says another parent", "a room = c \n c room < d \n d room = c", "a d(c)",
			[]string{"contradiction a [c d]"}, `fds: space "a": its composed_of names "c", but that is part of "d"`},
		{"the child says the void", "a room = c \n c room < void", "a c",
			[]string{"contradiction a [c]"}, `fds: space "a": its composed_of names "c", but that is part of nothing`},
		{"the parent does not list the child", "a room = d \n c room < a \n d room < a", "a(d c)",
			[]string{"contradiction a [c]"}, `fds: space "a": its composed_of does not name "c", which is part of it`},
		{"a space lists the void", "r room = " + fds.VoidSpaceID + "\n" + fds.VoidSpaceID + " nothing", "r " + fds.VoidSpaceID, []string{"contradiction r [" + fds.VoidSpaceID + "]"}, ""},
		{"the parent does not list what only a chain names", "a room = \n c room < x < a < void", "a(x?(c))", []string{"contradiction a [x]"}, ""},
		{"the parent lists none", "a room = \n c room < a", "a(c)", []string{"contradiction a [c]"}, ""},
		{"a chain says another parent of a parent", around + "z site < void \n f floor < b building < z site < void", "s(b(f)) z",
			[]string{"contradiction f [b s]"}, `fds: space "f": the chain of its part_of has "b" as part of "z", but that is part of "s"`},
		{"a chain leaves a parent out", around + "f floor < b hut < void", "s(b(f))", []string{"contradiction f [b s]"}, ""},
		{"two chains differ", "f floor < b building < s site \n g floor < b building < z site", "s?(b?(f g)) z?", []string{"contradiction g [b s]"}, ""},
		{"a chain adds a parent", "s hut < void \n r room < s hut < z hut < void", "s(r) z?", []string{"contradiction r [s]"}, ""},
		{"a suite lists what is elsewhere", "s - < void \n u suite < s = r \n r room < s", "s(u r)", nil, ""},
		{"the space around a suite lists what is in it", "s room < void = u r \n u suite < s \n r room < u", "s(u(r))", nil, ""},
		{"a space beside a suite lists what is in it", "s room < void \n t room < void = r \n u suite < s \n r room < u", "s(u(r)) t", []string{"contradiction t [r u]"}, ""},

		{"a site in a site", "s site < void \n z site < s", "s(z)", []string{"misplaced z [s]"}, `fds: space "z": a site is part of the void, but it is part of "s" (site)`},
		{"a site in a space of a type unknown", "s zone < void \n z site < s", "s(z)", []string{"misplaced z [s]"}, `fds: space "z": a site is part of the void, but it is part of "s"`},
		{"a site that another lists", "r room < void = z \n z site", "r(z)", []string{"misplaced z [r]"}, ""},
		{"a building in the void", "b building < void", "b", []string{"misplaced b []"}, `fds: space "b": a building is part of a site, but it is part of nothing`},
		{"a building that is nowhere", "b building", "b", []string{"misplaced b []"}, `fds: space "b": a building is part of a site, but it has no part_of, and no composed_of names it`},
		{"a type that only a chain says of a listed space", "f - \n b building < f floor", "f(b)", nil, ""},
		{"a building in a building", around + "c building < b", "s(b(c))", []string{"misplaced c [b]"}, `fds: space "c": a building is part of a site, but it is part of "b" (building)`},
		{"a building in a room that lists it", "r room < void = c \n c building", "r(c)", []string{"misplaced c [r]"}, ""},
		{"a building of a chain", "f floor < b building < r room < void", "r?(b?(f))", []string{"misplaced b [r]"}, ""},
		{"a building of a chain, in the void", "f floor < b building < void", "b?(f)", []string{"misplaced b []"}, ""},
		{"a floor in a site", "s site < void \n f floor < s", "s(f)", []string{"misplaced f [s]"}, `fds: space "f": a floor is part of a building, but it is part of "s" (site)`},
		{"a floor in the void", "f floor < void", "f", []string{"misplaced f []"}, ""},
		{"a floor whose chain ends early", around + "f floor < b", "s(b(f))", []string{"misplaced f [b]"},
			`fds: space "f": the chain of a floor gives building and site, but its part_of ends at "b"`},
		{"a floor whose building is nowhere", "f floor < b building", "b?(f)", []string{"orphan f [b]"}, ""},
		{"a suite in the void", "u suite < void", "u", []string{"misplaced u []"}, `fds: space "u": a suite is part of a larger space, but it is part of nothing`},
		{"a section that is nowhere", "u section", "u", []string{"misplaced u []"}, ""},
		{"a room in the void", "r room < void", "r", nil, ""},
		{"a type unknown in the void", "r carpark < void \n q carpark", "r q", nil, ""},

		{"a site composed of a floor", "s site < void = f \n f floor", "s(f)", []string{"misplaced s [f]"}, `fds: space "s": a site is composed of buildings, but its composed_of names "f" (floor)`},
		{"a building composed of a room", "s site < void \n b building < s = r \n r room", "s(b(r))", []string{"misplaced b [r]"}, ""},
		{"a floor composed of a suite", around + "f floor < b < s = u r \n u suite < f < b \n r aisle < f < b", "s(b(f(u r)))",
			[]string{"misplaced f [u]"}, `fds: space "f": a floor is composed of physical spaces, but its composed_of names "u" (suite)`},
		{"a site composed of a type unknown", "s site < void = k \n k kiosk", "s(k)", nil, ""},
		{"what a site does not list, being no building", "s site < void = \n r room < s", "s(r)", nil, ""},
		{"what a floor does not list, being logical", around + "f floor < b < s = \n u suite < f < b", "s(b(f(u)))", nil, ""},
	} {
		tree := treeFrom(t, test.list)
		faults := faultTexts(tree)
		if got := outline(tree); got != test.tree {
			t.Errorf("%s: %s, want %s", test.name, got, test.tree)
		}
		if !slices.Equal(faults, test.faults) || tree.FaultCount() != len(faults) {
			t.Errorf("%s: %d faults, %q, want %q", test.name, tree.FaultCount(), faults, test.faults)
			continue
		}
		if test.says != "" && tree.Faults()[0].Error() != test.says {
			t.Errorf("%s: %s\nwant %s", test.name, tree.Faults()[0], test.says)
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
		{"a chain too long", id + chainOf(fds.MaxChain+1, void) + `}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of of space "a": malformed item: over 64 spaces in the chain`},
		{"a chain without an ID", id + `{"generic":{"space_type":"site"}}}}`, "p site < void = a", "p(a)", `fds: space "a": generic.part_of: malformed item: space 0 of the chain has no space_id`},
		{"a chain with an ID that is true", id + `{"space_id":true}}}`, "r floor < a building < p site", "p?(a(r))", `fds: space "a": generic.part_of: malformed item: space 0 of the chain has no space_id`},
		{"a chain whose second space has no ID", id + `{"space_id":"p","generic":{"space_type":"site","part_of":{"generic":{"part_of":` + void + `}}}}}}`, "p site < void", "p(a)", `fds: space "a": generic.part_of: malformed item: space 1 of the chain has no space_id`},
		{"composed_of is a text", id + `{"space_id":"p","generic":{"space_type":"site"}},"composed_of":"f"}}`, "p site < void \n f floor < a building < p site", "p(a(f))", `fds: space "a": generic.composed_of: malformed item: it does not fit []string`},
	} {
		spaces := []fds.Space{mustSpace(t, test.space)}
		for line := range strings.Lines(test.others) {
			spaces = append(spaces, spaceFrom(t, strings.TrimSpace(line)))
		}
		tree := fds.NewSpaceTree(spaces)
		if got := outline(tree); got != test.tree {
			t.Errorf("%s: %s, want %s", test.name, got, test.tree)
		}
		if faults := tree.Faults(); len(faults) != 1 || faults[0].Kind != fds.FaultMalformed || faults[0].Error() != test.says || !errors.Is(faults[0], fds.ErrItem) || faults[0].Space != "a" {
			t.Errorf("%s: %q, want %s", test.name, faults, test.says)
		}
	}
}

func TestTheZeroSpaceIsOneWithoutAnID(t *testing.T) {
	tree := fds.NewSpaceTree(make([]fds.Space, 2))
	if got := faultTexts(tree); outline(tree) != " " || !slices.Equal(got, []string{"no_id  []", "no_id  []"}) {
		t.Errorf("%q, %q", outline(tree), got)
	}
	if n, ok := tree.Space(""); ok {
		t.Errorf("a space without an ID was found: %v", n)
	}
	if errors.Is(tree.Faults()[0], fds.ErrItem) {
		t.Error("a missing ID is taken for a malformed part_of")
	}
}

func TestAFloodOfOneFaultHidesNoOther(t *testing.T) {
	const flood = 3 * fds.MaxSpaceFaults
	list := "a room < b \n b room < a \n p room ="
	for i := range flood {
		list += fmt.Sprint(" x", i)
	}
	tree := treeFrom(t, list)
	kept := make(map[fds.SpaceFaultKind]int)
	for _, f := range tree.Faults() {
		kept[f.Kind]++
	}
	if kept[fds.FaultUnlisted] != fds.MaxSpaceFaults || kept[fds.FaultCycle] != 1 || tree.FaultCount() != flood+1 {
		t.Errorf("%d faults, kept %v", tree.FaultCount(), kept)
	}
}

func TestAFaultIsASafeSentenceOfBoundedLength(t *testing.T) {
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
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || len(text) > 5000 {
			t.Fatalf("%s: %d bytes: %.400q", f.Kind, len(text), text)
		}
		if f.Kind == fds.FaultCycle && (len(f.Others) != circle-1 || !strings.Contains(text, "and 991 more")) {
			t.Errorf("%d others: %s", len(f.Others), text)
		}
	}
}
