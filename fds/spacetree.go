package fds

import (
	"fmt"
	"iter"
	"slices"
)

// SpaceTree is a list of spaces, each inside the one that it is part of. It is
// safe for concurrent use.
type SpaceTree struct {
	byID   map[string]*SpaceNode
	roots  []*SpaceNode
	all    []*SpaceNode // depth first
	faults faultList
}

// NewSpaceTree makes a tree of spaces, such as pull.Collect gathers.
//
// FDS states a parent twice, in the part_of of the child and in the composed_of
// of the parent. part_of decides: the first space of its chain is the parent.
// Where a space has none, the chain of a space inside it says where it belongs,
// and else the composed_of that names it; of several, that of a physical space
// goes before that of a suite or a section, and then the first. A space that
// only chains name is in the tree too, see SpaceNode.Listed. Of the spaces with
// one ID the first is in the tree.
//
// No list is refused. What contradicts FDS or itself is in Faults, and the tree
// is a tree all the same: each of its spaces is found exactly once from Roots.
// Time and memory are linear in the size of the list.
func NewSpaceTree(spaces []Space) *SpaceTree {
	p := plan{byID: make(map[string]*plot, len(spaces))}
	p.read(spaces)
	p.believePartOf()
	p.believeChains()
	p.believeComposedOf()
	p.breakCycles()
	p.arrange()
	p.check()
	return p.tree()
}

// Roots returns the spaces that are part of no other, in the order of the list: its
// sites, when nothing is missing. The caller must not change the slice.
func (t *SpaceTree) Roots() []*SpaceNode { return t.roots }

// Space returns the space of that ID. IDs are compared byte by byte.
func (t *SpaceTree) Space(id string) (*SpaceNode, bool) {
	n, ok := t.byID[id]
	return n, ok
}

// All returns every space of the tree once, each before those inside it.
func (t *SpaceTree) All() iter.Seq[*SpaceNode] { return slices.Values(t.all) }

// String returns the size of the tree and nothing of the spaces.
func (t *SpaceTree) String() string {
	return fmt.Sprintf("tree of %d spaces, %d faults", len(t.all), t.faults.count)
}

// SpaceNode is a space in its place in a SpaceTree.
type SpaceNode struct {
	// Space is the item as it stood in the list, or else in a chain. The caller
	// must not change it.
	Space

	id                    string
	kind                  SpaceType
	listed                bool
	depth                 int
	parent                *SpaceNode
	children              []*SpaceNode
	all                   []*SpaceNode // itself and what is inside, depth first
	site, building, floor *SpaceNode
}

// ID returns space_id, or "" of a space in the list that has none.
func (n *SpaceNode) ID() string { return n.id }

// Type is Space.Type.
func (n *SpaceNode) Type() SpaceType { return n.kind }

// Listed reports whether the space was in the list. Otherwise it is known from the
// part_of of others alone, and has no more members than their chains say: so are
// the building and the site when only floors were asked for.
func (n *SpaceNode) Listed() bool { return n.listed }

// Parent returns the space that this one is directly part of; nil for a root.
func (n *SpaceNode) Parent() *SpaceNode { return n.parent }

// Children returns the spaces directly inside: first in the order of composed_of,
// and then in that of the list. The caller must not change the slice.
func (n *SpaceNode) Children() []*SpaceNode { return n.children }

// Depth returns the number of ancestors; 0 for a root.
func (n *SpaceNode) Depth() int { return n.depth }

// Site returns the nearest site among the space and its ancestors, or nil. Like
// Building and Floor it takes the same short time at any depth.
func (n *SpaceNode) Site() *SpaceNode { return n.site }

// Building returns the nearest building among the space and its ancestors, or nil.
func (n *SpaceNode) Building() *SpaceNode { return n.building }

// Floor returns the nearest floor among the space and its ancestors, or nil.
func (n *SpaceNode) Floor() *SpaceNode { return n.floor }

// Ancestors returns the spaces around this one, the nearest first.
func (n *SpaceNode) Ancestors() iter.Seq[*SpaceNode] {
	return func(yield func(*SpaceNode) bool) {
		for at := n.parent; at != nil && yield(at); at = at.parent {
		}
	}
}

// All returns the space and every one inside it, each before those inside it.
func (n *SpaceNode) All() iter.Seq[*SpaceNode] { return slices.Values(n.all) }
