package fds

import (
	"cmp"
	"slices"
)

// treeBuilder makes a SpaceTree.
type treeBuilder struct {
	*SpaceTree
	nodes  []*SpaceNode // of the list in its order, each before those that its chain names first
	claims []spaceClaim
	kept   map[string]int // faults, by their format
}

// spaceClaim is what by says: child is part of parent, or of the void when that is nil.
type spaceClaim struct {
	by, child, parent *SpaceNode
	from              claimSource
}

// claimSource is where a claim stands, the most trusted last.
type claimSource int

const (
	nowhere claimSource = iota
	unreadable
	logicalComposedOf // of a suite or a section
	composedOf        // of another space
	chainOfAnother
	ownPartOf
)

// read takes the spaces of the list, of those with one ID the first, and those of their chains.
func (b *treeBuilder) read(spaces []Space) {
	var listed []*SpaceNode
	var chains [][]*chainLink
	for i, s := range spaces {
		chain, err := s.chain()
		n := &SpaceNode{Space: s, id: chain[0].id, kind: chain[0].kind, item: i, listed: true}
		if first := b.byID[n.id]; first != nil {
			b.fault(n, "items %d and %d of the list have this ID; the first counts", first.item, i)
			continue
		} else if n.id != "" {
			b.byID[n.id] = n
		} else {
			b.fault(n, "item %d of the list has no space_id", i)
		}
		if n.isVoid() { // whatever it says
			chain = []*chainLink{chain[0], nil}
		} else if err != nil {
			b.fault(n, "%w", err)
			n.from = unreadable
		}
		listed, chains = append(listed, n), append(chains, chain)
	}
	for i, n := range listed {
		b.nodes = append(b.nodes, n)
		b.readChain(n, chains[i])
	}
	for _, n := range b.nodes {
		if n.listed && !n.isVoid() {
			b.readComposedOf(n)
		}
	}
}

func (b *treeBuilder) readChain(n *SpaceNode, chain []*chainLink) {
	inner, from := n, ownPartOf
	for i, link := range chain[1:] {
		var outer *SpaceNode // nil: the void
		if link != nil {
			if link.id == "" {
				b.fault(n, "generic.part_of: %w: space %d of the chain has no space_id", ErrItem, i)
				n.from = max(n.from, unreadable)
				return
			}
			outer = b.name(link, n.item)
		}
		if b.claim(n, inner, outer, from) {
			inner = outer
		}
		from = chainOfAnother
	}
	early := n.kind == SpaceFloor && len(chain) == 2
	if early && inner != nil && inner.listed && inner.kind == SpaceBuilding {
		b.fault(n, "the chain of a floor names building and site, but its part_of ends at %s", inner)
	}
}

// name returns the space of the tree that a link of the chain of an item names.
func (b *treeBuilder) name(link *chainLink, item int) *SpaceNode {
	named := b.byID[link.id]
	if named == nil {
		named = &SpaceNode{Space: link.Space, id: link.id, kind: link.kind, item: item, from: unreadable}
		b.byID[link.id] = named
		b.nodes = append(b.nodes, named)
	} else if !named.listed && named.kind == "" { // perhaps this chain says more
		named.Space, named.kind = link.Space, link.kind
	}
	return named
}

func (b *treeBuilder) readComposedOf(n *SpaceNode) {
	ids, err := n.ComposedOf()
	if err != nil {
		b.fault(n, "%w", err)
	}
	n.lists = ids != nil
	from := composedOf
	if n.kind.isLogical() {
		from = logicalComposedOf
	}
	for _, id := range ids {
		part, ok := b.byID[id]
		switch {
		case !ok:
			part = &SpaceNode{id: id}
		case part.namer == n:
			b.fault(n, "its composed_of names %s more than once", part)
			continue
		}
		if !part.listed {
			b.fault(n, "its composed_of names %s, which is not in the list", part)
		}
		if ok {
			part.namer = n
			b.claim(n, part, n, from)
		}
	}
}

// claim notes what a space says and reports whether it can be. The most trusted claim counts, of
// equals the first.
func (b *treeBuilder) claim(by, n, parent *SpaceNode, from claimSource) bool {
	if n == parent {
		b.fault(n, "part_of or composed_of of %s names the space itself", by)
		n.from = max(n.from, unreadable)
		return false
	}
	if parent != nil && parent.isVoid() {
		parent = nil
	}
	b.claims = append(b.claims, spaceClaim{by, n, parent, from})
	if from > n.from {
		n.parent, n.stated, n.from = parent, parent, from
	}
	return true
}

// breakCycles makes one space of each cycle a root: the one whose parent is trusted least, of
// several the first in the list.
func (b *treeBuilder) breakCycles() {
	for i, n := range b.nodes {
		for ; n != nil && n.walk == 0; n = n.parent {
			n.walk = i + 1
		}
		if n == nil || n.walk != i+1 {
			continue
		}
		root := n
		for at := n.parent; at != n; at = at.parent {
			if cmp.Or(cmp.Compare(at.from, root.from), cmp.Compare(at.item, root.item)) < 0 {
				root = at
			}
		}
		b.fault(root, "it is part of itself by way of %s; here it is a root", root.parent)
		root.parent = nil
	}
}

// arrange puts the nodes into their parents and all into their order.
func (b *treeBuilder) arrange() {
	for _, c := range b.claims {
		if c.from <= composedOf && c.child.parent == c.parent {
			c.child.namer = c.parent
			c.parent.children = append(c.parent.children, c.child)
		}
	}
	for _, n := range b.nodes {
		if n.parent == nil {
			b.roots = append(b.roots, n)
		} else if n.namer != n.parent {
			n.parent.children = append(n.parent.children, n)
		}
	}
	left := slices.Clone(b.roots)
	for slices.Reverse(left); len(left) > 0; {
		n := left[len(left)-1]
		left = left[:len(left)-1]
		b.all = append(b.all, n)
		n.lost = !n.listed && n.from == unreadable && n.kind != SpaceSite
		if p := n.parent; p != nil {
			n.lost = !n.listed && p.lost
			n.depth, n.nearest, n.physical = p.depth+1, p.nearest, p
			if p.kind.isLogical() {
				n.physical = p.physical
			}
		}
		if i := slices.Index(nearestTypes, n.kind); i >= 0 {
			n.nearest[i] = n
		}
		for _, child := range slices.Backward(n.children) {
			left = append(left, child)
		}
	}
}

var nearestTypes = []SpaceType{SpaceSite, SpaceBuilding, SpaceFloor}

// spaceRule is what FDS says of the spaces of a type.
type spaceRule struct {
	parent SpaceType // of those whose composed_of may name them
	partOf string    // "" when they may be anywhere
	parts  string    // "" when they may be any
}

var physicalSpace = spaceRule{parent: SpaceFloor}

var spaceRules = map[SpaceType]spaceRule{
	SpaceSite:     {SpaceNothing, "the void", "buildings"},
	SpaceBuilding: {SpaceSite, "a site", "floors"},
	SpaceFloor:    {SpaceBuilding, "a building", "physical spaces"},
	SpaceSuite:    {partOf: "a larger space"},
	SpaceSection:  {partOf: "a larger space"},
	SpaceRoom:     physicalSpace, SpaceHallway: physicalSpace, SpaceCorridor: physicalSpace,
	SpaceAisle: physicalSpace, SpaceRestroom: physicalSpace, SpaceToilet: physicalSpace,
	SpaceCubicle: physicalSpace,
}

func (t SpaceType) isLogical() bool { return t == SpaceSuite || t == SpaceSection }

// isKnown reports whether FDS has rules for the type.
func (t SpaceType) isKnown() bool { return spaceRules[t] != (spaceRule{}) }

// mayCompose reports whether composed_of of a space of type whole may name one of the type.
func (t SpaceType) mayCompose(whole SpaceType) bool {
	return spaceRules[whole].parts == "" || spaceRules[t].parent == whole
}

var theVoid = &SpaceNode{id: VoidSpaceID, kind: SpaceNothing}

// check looks for what contradicts now that each space has its place.
func (b *treeBuilder) check() {
	for _, c := range b.claims {
		n, by := c.child, c.by
		if c.from <= composedOf && n.kind.isKnown() && !n.kind.mayCompose(by.kind) {
			b.fault(by, "a %s is composed of %s, but its composed_of names %s",
				by.kind, spaceRules[by.kind].parts, n)
		}
		// A suite and a section may name what is part of a physical space, and a physical space
		// what is part of its suites and sections.
		if n.stated != c.parent && (c.from > composedOf || c.from == composedOf &&
			(n.from == composedOf || n.physical != by && n.parent == n.stated)) {
			b.fault(by, "it says that %s is part of %s, but that is part of %s", n, c.parent, n.stated)
		}
	}
	for _, n := range b.nodes {
		parent := cmp.Or(n.parent, theVoid)
		if parent.lists && parent != n.namer && !n.kind.isLogical() && n.kind.mayCompose(parent.kind) {
			b.fault(parent, "its composed_of does not name %s, which is part of it", n)
		}
		if n.listed && parent.lost {
			b.fault(n, "it is part of %s, which is not in the list, "+
				"and its chain does not go on to a site", parent)
		}
		switch rule := spaceRules[n.kind]; {
		case rule.partOf == "", rule.parent == parent.kind, rule.parent == "" && n.parent != nil:
			// It may be there.
		case n.from == unreadable, n.parent != n.stated,
			n.from <= composedOf && !n.kind.mayCompose(parent.kind):
			// This is reported already.
		case n.parent == nil || parent.kind.isKnown() || n.kind == SpaceSite:
			b.fault(n, "a %s is part of %s, but it is part of %s", n.kind, rule.partOf, n.parent)
		}
	}
}
