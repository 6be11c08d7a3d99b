package fds

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// SpaceTree is a list of spaces, each inside the one that it is part of. It is safe for concurrent
// use.
type SpaceTree struct {
	byID       map[string]*SpaceNode
	roots, all []*SpaceNode // all: depth first
	faults     []SpaceFault
	faultCount int
}

// NewSpaceTree makes a tree of spaces, such as pull.Collect gathers.
//
// FDS states a parent twice, in the part_of of the child and in the composed_of of the parent.
// part_of decides: the first space of its chain is the parent. Where a space has none, the chain of
// a space inside it says where it belongs, and else the composed_of that names it; of several, that
// of a physical space goes before that of a suite or a section, and then the first. A space that
// only chains name is in the tree too, see SpaceNode.Listed. Of the spaces with one ID the first is
// in the tree.
//
// No list is refused. What contradicts FDS or itself is in Faults, and the tree is a tree all the
// same: each of its spaces is found exactly once from Roots. Time and memory are linear in the size
// of the list.
func NewSpaceTree(spaces []Space) *SpaceTree {
	t := &SpaceTree{byID: make(map[string]*SpaceNode, len(spaces))}
	b := treeBuilder{SpaceTree: t, kept: make(map[string]int)}
	b.read(spaces)
	b.breakCycles()
	b.arrange()
	b.check()
	return t
}

// Roots returns the spaces that are part of no other, in the order of the list: its sites, when
// nothing is missing. The caller must not change the slice.
func (t *SpaceTree) Roots() []*SpaceNode { return t.roots }

// Space returns the space of that ID. IDs are compared byte by byte.
func (t *SpaceTree) Space(id string) (*SpaceNode, bool) {
	n, ok := t.byID[id]
	return n, ok
}

// All returns every space of the tree once, each before those inside it.
func (t *SpaceTree) All() iter.Seq[*SpaceNode] { return slices.Values(t.all) }

// Faults returns what is wrong with the list: the first 100 faults of each kind. The caller must
// not change the slice.
func (t *SpaceTree) Faults() []SpaceFault { return t.faults }

// FaultCount returns the number of faults, also of those that were not kept.
func (t *SpaceTree) FaultCount() int { return t.faultCount }

// String returns the size of the tree and nothing of the spaces.
func (t *SpaceTree) String() string {
	return fmt.Sprintf("tree of %d spaces, %d faults", len(t.all), t.faultCount)
}

// SpaceNode is a space in its place in a SpaceTree.
type SpaceNode struct {
	// Space is the item as it stood in the list, or else in a chain. The caller must not change it.
	Space

	id       string
	kind     SpaceType
	listed   bool
	depth    int
	parent   *SpaceNode
	children []*SpaceNode
	nearest  [3]*SpaceNode // of nearestTypes, itself or an ancestor

	// While the tree is made:
	item     int         // of the list, that it is or whose chain names it first
	stated   *SpaceNode  // the parent, also when it was taken away to end a cycle
	from     claimSource // of that
	lists    bool        // it has a composed_of
	namer    *SpaceNode  // whose composed_of named it last; in the end the parent, if that did
	walk     int         // on which it was seen
	physical *SpaceNode  // the nearest ancestor that is not logical
	lost     bool        // neither listed nor known to be anywhere
}

// ID returns space_id, or "" of a space in the list that has none.
func (n *SpaceNode) ID() string { return n.id }

// Type is Space.Type.
func (n *SpaceNode) Type() SpaceType { return n.kind }

// Listed reports whether the space was in the list. Otherwise it is known from the part_of of
// others alone, and has no more members than their chains say: so are the building and the site
// when only floors were asked for.
func (n *SpaceNode) Listed() bool { return n.listed }

// Parent returns the space that this one is directly part of; nil for a root.
func (n *SpaceNode) Parent() *SpaceNode { return n.parent }

// Children returns the spaces directly inside: first in the order of composed_of, and then in that
// of the list. The caller must not change the slice.
func (n *SpaceNode) Children() []*SpaceNode { return n.children }

// Depth returns the number of ancestors; 0 for a root.
func (n *SpaceNode) Depth() int { return n.depth }

// Site returns the nearest site among the space and its ancestors, or nil. Like Building and Floor
// it takes the same short time at any depth.
func (n *SpaceNode) Site() *SpaceNode { return n.nearest[0] }

// Building returns the nearest building among the space and its ancestors, or nil.
func (n *SpaceNode) Building() *SpaceNode { return n.nearest[1] }

// Floor returns the nearest floor among the space and its ancestors, or nil.
func (n *SpaceNode) Floor() *SpaceNode { return n.nearest[2] }

func (n *SpaceNode) isVoid() bool { return n.kind == SpaceNothing || n.id == VoidSpaceID }

// SpaceFault is what is wrong with a space of a list. It matches ErrItem when part_of or
// composed_of is malformed. Else an ID is missing or there twice, or names no space of the list, a
// space is said to be in two places or in itself, or what FDS says of its types is not so: a site
// is part of the void and composed of buildings, a building is part of a site and composed of
// floors, a floor is part of a building, its chain goes on to the site, and it is composed of
// physical spaces, which suites and sections are not; those are part of a larger space.
type SpaceFault struct {
	Space   string   // the ID of the space
	Others  []string // the IDs of the other spaces concerned, in the order of the sentence
	Problem string   // a sentence, in which IDs are quoted and cut, and safe for a log
	cause   error
}

// Error returns the sentence, after the space.
func (f SpaceFault) Error() string {
	return "fds: space " + quoteBounded(f.Space) + ": " + f.Problem
}

// Unwrap returns the error of Space.PartOf or Space.ComposedOf behind the fault, or nil.
func (f SpaceFault) Unwrap() error { return f.cause }

// maxSpaceFaults bounds the faults of each kind, so that many of one hide none of another.
const maxSpaceFaults = 100

// fault notes a fault of n, the kind of which is its format. Nodes in args are the other spaces;
// the nil node is the void.
func (b *treeBuilder) fault(n *SpaceNode, format string, args ...any) {
	b.faultCount++
	if b.kept[format]++; b.kept[format] > maxSpaceFaults {
		return
	}
	f := SpaceFault{Space: n.id}
	for i, arg := range args {
		if other, ok := arg.(*SpaceNode); ok && other == nil {
			args[i] = "nothing"
		} else if ok {
			if other != n {
				f.Others = append(f.Others, other.id)
			}
			args[i] = quoteBounded(other.id)
			if other.kind.isKnown() {
				args[i] = fmt.Sprintf("%s (%s)", args[i], other.kind)
			}
		}
	}
	err := fmt.Errorf(format, args...)
	f.Problem, f.cause = strings.TrimPrefix(err.Error(), "fds: "), errors.Unwrap(err)
	b.faults = append(b.faults, f)
}
