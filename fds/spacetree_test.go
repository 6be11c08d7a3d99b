package fds_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

// A test writes a space as "id type < parent type < parent type < void = part
// part": what it is part of, nearest first, and what it is composed of. A dash is
// an ID or a type that is missing; without < or = so is part_of or composed_of.

func spaceFrom(t testing.TB, text string) fds.Space {
	t.Helper()
	text, parts, composed := strings.Cut(text, "=")
	var b strings.Builder
	links := strings.Split(text, "<")
	for i, link := range links {
		if strings.TrimSpace(link) == "void" {
			b.WriteString(void)
			links = links[:i]
			break
		}
		fields := strings.Fields(link)
		b.WriteString("{")
		if fields[0] != "-" {
			fmt.Fprintf(&b, `"space_id":%q,`, fields[0])
		}
		b.WriteString(`"generic":{"name":"-"`)
		if len(fields) > 1 && fields[1] != "-" {
			fmt.Fprintf(&b, `,"space_type":%q`, fields[1])
		}
		if i == 0 && composed {
			fmt.Fprintf(&b, `,"composed_of":["%s"]`, strings.Join(strings.Fields(parts), `","`))
		}
		if i < len(links)-1 {
			b.WriteString(`,"part_of":`)
		}
	}
	b.WriteString(strings.Repeat("}}", len(links)))
	return mustSpace(t, strings.ReplaceAll(b.String(), `[""]`, "[]"))
}

// treeFrom makes the tree of the spaces that the lines of text write.
func treeFrom(t testing.TB, text string) *fds.SpaceTree {
	t.Helper()
	var spaces []fds.Space
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			spaces = append(spaces, spaceFrom(t, line))
		}
	}
	return fds.NewSpaceTree(spaces)
}

// outline writes a tree as "a(b c(d?))", a question mark behind what is not in
// the list.
func outline(t *fds.SpaceTree) string {
	var write func(nodes []*fds.SpaceNode) string
	write = func(nodes []*fds.SpaceNode) string {
		var texts []string
		for _, n := range nodes {
			text := n.ID()
			if !n.Listed() {
				text += "?"
			}
			if len(n.Children()) > 0 {
				text += "(" + write(n.Children()) + ")"
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, " ")
	}
	return write(t.Roots())
}

// campus is a list as FDS wants it.
const campus = `
	r1 room < f1 floor < b1 building < s site < void
	s site < void = b2 b1
	b1 building < s site < void = f1
	f1 floor < b1 building < s site < void = r1 w1
	su suite < f1 floor < b1 building < s site < void = r1
	b2 building < s site < void =
	w1 restroom < f1 floor < b1 building < s site < void = c1
	c1 cubicle < w1 restroom < f1 floor < b1 building < s site < void =
	x wing < f1 floor < b1 building < s site < void`

func TestASpaceIsInTheSpaceThatPartOfNames(t *testing.T) {
	for name, test := range map[string]struct{ list, want string }{
		"a campus":                             {campus, "s(b2 b1(f1(r1 w1(c1) su x)))"},
		"nothing":                              {``, ""},
		"composed_of where part_of is missing": {"r room \n f floor = q r \n q room", "f(q r)"},
		"part_of decides":                      {"a room = r \n r room < b \n b room", "a b(r)"},
		"the void decides":                     {"a room = r \n r room < void", "a r"},
		"the order of composed_of, then the list's": {"c room < p \n b room < p \n a room < p \n d room \n p room = d b", "p(d b c a)"},
		"a chain of spaces that are not listed":     {"f floor < b building < s site < void \n g floor < b building < s site < void", "s?(b?(f g))"},
		"a chain that says more than another":       {"f floor < b \n g floor < b building < s site < void", "s?(b?(f g))"},
		"a chain says where another space is":       {"s site < void \n b building \n f floor < b building < s site < void", "s(b(f))"},
		"a chain goes before composed_of":           {"f floor < b building < s \n b building \n s site < void \n z site < void = b", "s(b(f)) z"},
		"composed_of of what only chains name":      {"f floor < b building \n s site < void = b", "s(b?(f))"},
		"its own part_of goes before a chain's":     {"f floor < b building < z \n z site \n b building < s \n s site", "z s(b(f))"},
		"a physical space goes before a suite":      {"u suite < f = r \n f floor = r \n r room", "f(r u)"},
		"a suite, when no other names it":           {"u suite < f = r \n f floor = \n r room", "f(u(r))"},
		"the first of two suites":                   {"f - = u v \n u suite < f = r \n v suite < f = r \n r room", "f(u(r) v)"},
		"the void has no place of its own":          {fds.VoidSpaceID + " nothing = s \n s site \n r room < " + fds.VoidSpaceID, fds.VoidSpaceID + " s r"},
		"a space of type nothing is a void":         {"n nothing < a = s \n a site \n s site < n", "n a s"},
		"spaces without an ID":                      {"- room < f \n - room < f \n f floor < void", "f( )"},
		"IDs are compared byte by byte":             {"a room < B \n b floor < void", "B?(a) b"},
	} {
		if got := outline(treeFrom(t, test.list)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestAListAsFDSWantsItHasNoFault(t *testing.T) {
	for _, list := range []string{
		campus,
		"f floor < b building < s site < void \n g floor < b building < s site < void = r \n r room < g floor < b building < s site < void",
		"s site = b \n b building = f \n f floor = r \n r room",                 // composed_of alone
		"s site < void \n b building < s site \n f floor < b building < s site", // the void left out
		"r room < z zone < y yard < void \n z zone < y \n y yard < void = z \n o room",
		fds.VoidSpaceID + " nothing < s = s \n s site < void",
		"n nothing < z = s z \n s site < void \n b building < s site < n",
		"f floor < w wing < void \n w wing < void \n b building < w wing < void",
		// A room of a suite on a floor: both name it, whichever it names itself.
		"s site < void = b \n b building < s site < void = f \n f floor < b building < s site < void = r q \n u suite < f floor < b building < s site < void = r q \n v section < u suite < f floor < b building < s site < void = q \n r room < f floor < b building < s site < void \n q room < v section < u suite < f floor < b building < s site < void",
		"f floor < b building < s site < void = r \n u suite < f floor < b building < s site < void = r \n r room",
	} {
		for _, fault := range treeFrom(t, list).Faults() {
			t.Errorf("%s: %v", list, fault)
		}
	}
}

func TestTheTreeIsWalkedUpAndDown(t *testing.T) {
	tree := treeFrom(t, campus)
	ids := func(nodes []*fds.SpaceNode) string {
		var ids []string
		for _, n := range nodes {
			ids = append(ids, fmt.Sprint(n.ID(), n.Depth()))
		}
		return strings.Join(ids, " ")
	}
	const all = "s0 b21 b11 f12 r13 w13 c14 su3 x3"
	if got := ids(slices.Collect(tree.All())); got != all {
		t.Errorf("all: %s", got)
	}
	w1, ok := tree.Space("w1")
	if !ok || w1.Type() != fds.SpaceRestroom || w1.Parent().ID() != "f1" || !w1.Listed() {
		t.Fatalf("w1: %v", w1)
	}
	if got := ids(w1.Children()); got != "c14" {
		t.Errorf("inside: %s", got)
	}
	if got := ids([]*fds.SpaceNode{w1.Parent(), w1.Parent().Parent(), w1.Parent().Parent().Parent()}); got != "f12 b11 s0" {
		t.Errorf("around: %s", got)
	}
	for n := range tree.All() {
		if n.ID() != "s" {
			t.Error("the walk went on")
		}
		break
	}
	if n, ok := tree.Space("W1"); ok || n != nil {
		t.Errorf("W1 is %v", n)
	}
	if name, err := fds.As[string](w1.Item, "generic", "name"); name != "-" || err != nil {
		t.Errorf("the name is %q, %v", name, err)
	}
}

func TestAnySpaceKnowsItsFloorBuildingAndSite(t *testing.T) {
	tree := treeFrom(t, campus+"\n lost room < g floor < c building < z site < void \n out room < s site < void \n deep site < b1 \n short floor < d \n long floor < d building < z site < void")
	for id, want := range map[string]string{
		"c1": "s b1 f1", "r1": "s b1 f1", "f1": "s b1 f1", "b1": "s b1 -", "s": "s - -", "b2": "s b2 -", "su": "s b1 f1",
		"lost": "z? c? g?", "g": "z? c? g?", "z": "z? - -", "out": "s - -", "deep": "deep b1 -",
		"short": "z? d? short", // what a chain leaves out another says
	} {
		n, ok := tree.Space(id)
		if !ok {
			t.Fatalf("there is no %s", id)
		}
		var got []string
		for _, at := range []*fds.SpaceNode{n.Site(), n.Building(), n.Floor()} {
			switch {
			case at == nil:
				got = append(got, "-")
			case at.Listed():
				got = append(got, at.ID())
			default:
				got = append(got, at.ID()+"?")
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is in %q, want %s", id, got, want)
		}
	}
}

func TestAttackPrintingATreeSpillsNothing(t *testing.T) {
	tree := treeFrom(t, "secret room = secret secret \n secret room")
	n, _ := tree.Space("secret")
	for _, text := range []string{fmt.Sprint(tree), fmt.Sprintf("%+v", tree), fmt.Sprint(n), fmt.Sprintf("%+v", n), fmt.Sprintf("%+v", tree.Roots())} {
		if strings.Contains(text, "secret") || strings.Contains(text, "115 101 99") {
			t.Errorf("printed as %s", text)
		}
	}
	if got := fmt.Sprint(tree); got != "tree of 1 spaces, 3 faults" {
		t.Errorf("printed as %s", got)
	}
}
