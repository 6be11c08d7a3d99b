package fds

import (
	"cmp"
	"fmt"
	"slices"
)

// plan is a SpaceTree in the making.
type plan struct {
	byID    map[string]*plot
	listed  []*plot // in the order of the list
	plots   []*plot // these and those of chains, in the order in which they are named
	roots   []*plot
	ordered []*plot // depth first
	faults  faultList
}

// plot is a SpaceNode in the making.
type plot struct {
	*SpaceNode
	isVoid bool

	ids     []string     // composed_of; nil when it states nothing
	parts   []*plot      // the spaces that ids names, each once
	links   []*chainLink // part_of, as far as it makes sense
	chain   []*plot      // the spaces that links name
	toVoid  bool         // chain ends in the void
	damaged bool         // part_of is there, but its first space cannot be known

	around       *plot // the parent
	says         statement
	cut          bool  // around was taken away to end a cycle
	claim, suite *plot // the first physical and the first logical space whose composed_of names it
	within       []*plot
	naming       naming
	inParts      bool  // composed_of of the parent names it
	index        int   // in plots, and at last in ordered
	physical     *plot // the nearest ancestor that is not logical
	end          *plot // of the spaces from here outward that are not in the list, the outermost; nil when one in the list is around
	walk         int   // on which it was seen
}

// naming counts how often one composed_of names an ID.
type naming struct {
	by    *plot // the last that did
	times int
}

// statement is who says what the parent is, the most trusted last.
type statement int

const (
	unsaid statement = iota
	byComposedOf
	byChain  // of a space inside
	byPartOf // its own
)

// read takes the spaces apart.
func (p *plan) read(spaces []Space) {
	indexes := make(map[string]int, len(spaces))
	for i, space := range spaces {
		link, _ := readLink(space.raw, skipSpace(space.raw, 0), 0)
		at := &plot{SpaceNode: &SpaceNode{Space: space, id: link.id, kind: link.kind(), listed: true}, isVoid: link.isVoid()}
		if first, twice := indexes[at.id]; twice {
			p.fault(FaultDuplicate, at, nil, "items %d and %d of the list have this ID; the first counts", first, i)
			continue
		}
		p.listed = append(p.listed, at)
		if at.id == "" {
			p.fault(FaultNoID, at, nil, "item %d of the list has no space_id", i)
		} else {
			p.byID[at.id] = at
			indexes[at.id] = i
		}
		if at.isVoid {
			continue // whatever it says
		}
		p.readChain(at, link)
		var err error
		if at.ids, err = space.ComposedOf(); err != nil {
			p.malformed(at, err)
		}
	}
}

// readChain takes as much of part_of as can be believed.
func (p *plan) readChain(at *plot, link *chainLink) {
	var err error
	if at.links, at.toVoid, err = link.outward(); err != nil {
		at.damaged = true
		p.malformed(at, err)
		return
	}
	if n := slices.IndexFunc(at.links, func(l *chainLink) bool { return l.id == "" }); n >= 0 {
		at.links, at.toVoid, at.damaged = at.links[:n], false, n == 0
		p.malformed(at, fmt.Errorf("fds: generic.part_of: %w: space %d of the chain has no space_id", ErrItem, n))
	}
	if len(at.links) > 0 && at.links[0].id == at.id {
		at.links, at.toVoid, at.damaged = nil, false, true
		p.fault(FaultSelf, at, nil, "its part_of names the space itself")
	}
}

// believePartOf returns the spaces the parents that they name.
func (p *plan) believePartOf() {
	for _, at := range p.listed {
		p.add(at)
		at.chain = make([]*plot, len(at.links))
		for i, link := range at.links {
			at.chain[i] = p.named(link)
		}
		at.links = nil
		switch {
		case at.isVoid || at.toVoid && len(at.chain) == 0:
			at.says = byPartOf
		case len(at.chain) > 0:
			at.put(at.chain[0], byPartOf)
		}
	}
}

func (p *plan) add(at *plot) {
	at.index = len(p.plots)
	p.plots = append(p.plots, at)
}

// named returns the space that a chain names.
func (p *plan) named(link *chainLink) *plot {
	at := p.byID[link.id]
	switch {
	case at == nil:
		at = &plot{SpaceNode: &SpaceNode{Space: link.space(), id: link.id, kind: link.kind()}}
		p.byID[link.id] = at
		p.add(at)
	case !at.listed && at.kind == "": // perhaps this chain says more
		at.Space, at.kind = link.space(), link.kind()
	}
	return at
}

// put makes a space the parent.
func (at *plot) put(around *plot, says statement) {
	if around != nil && around.isVoid {
		around = nil
	}
	at.around, at.says = around, says
}

// believeChains returns the spaces that do not say themselves where they belong
// the parents that the chains of others give them.
func (p *plan) believeChains() {
	for _, at := range p.listed {
		for i, inner := range at.chain {
			var outer *plot
			if i+1 < len(at.chain) {
				outer = at.chain[i+1]
			} else if !at.toVoid {
				continue
			}
			if outer != nil && outer.isVoid {
				outer = nil
			}
			switch {
			case inner == outer:
				p.fault(FaultSelf, inner, nil, "part_of of %s says that it is part of itself", at)
			case inner.says == unsaid:
				inner.put(outer, byChain)
			case inner.around != outer:
				p.fault(FaultContradiction, at, idsOf(inner, inner.around), "the chain of its part_of has %s as part of %s, but that is part of %s", inner, outer, inner.around)
			}
		}
	}
}

// believeComposedOf returns the spaces that no part_of places to those that list
// them.
func (p *plan) believeComposedOf() {
	unknown := make(map[string]*naming)
	for _, at := range p.listed {
		at.parts = make([]*plot, 0, len(at.ids))
		for _, id := range at.ids {
			part := p.byID[id]
			n := unknown[id]
			switch {
			case part != nil:
				n = &part.naming
			case n == nil:
				n = &naming{}
				unknown[id] = n
			}
			if n.by != at {
				*n = naming{by: at}
			}
			n.times++
			switch {
			case n.times == 2:
				p.fault(FaultRepeated, at, []string{id}, "its composed_of names %s more than once", id)
				continue
			case n.times > 2:
				continue
			case part == at:
				p.fault(FaultSelf, at, nil, "its composed_of names the space itself")
				continue
			case part == nil || !part.listed:
				p.fault(FaultUnlisted, at, []string{id}, "its composed_of names %s, which is not in the list", id)
			}
			if part != nil {
				at.parts = append(at.parts, part)
				p.claimed(part, at)
			}
		}
	}
	for _, at := range p.plots {
		if at.says != unsaid {
			continue
		}
		if at.claim == nil {
			at.claim = at.suite
		}
		if at.claim != nil {
			at.put(at.claim, byComposedOf)
		}
	}
}

// claimed notes that composed_of of by names the space.
func (p *plan) claimed(at, by *plot) {
	switch {
	case by.kind.isLogical():
		if at.suite == nil {
			at.suite = by
		}
	case at.claim == nil:
		at.claim = by
	case at.says == unsaid:
		p.fault(FaultContested, at, idsOf(at.claim, by), "it is in the composed_of of both %s and %s, and no part_of decides", at.claim, by)
	}
}

// breakCycles takes one parent away in each cycle.
func (p *plan) breakCycles() {
	for i, start := range p.plots {
		at := start
		for at != nil && at.walk == 0 {
			at.walk = i + 1
			at = at.around
		}
		if at == nil || at.walk != i+1 {
			continue
		}
		p.breakCycle(at)
	}
}

func (p *plan) breakCycle(at *plot) {
	cycle := []*plot{at}
	for next := at.around; next != at; next = next.around {
		cycle = append(cycle, next)
	}
	root := slices.MinFunc(cycle, func(a, b *plot) int {
		return cmp.Or(cmp.Compare(a.says, b.says), cmp.Compare(a.index, b.index))
	})
	n := slices.Index(cycle, root)
	others := idsOf(slices.Concat(cycle[n+1:], cycle[:n])...)
	p.fault(FaultCycle, root, others, "it is part of itself by way of %s; here it is a root", some(others))
	root.around, root.cut = nil, true
}

// arrange puts the spaces into those around them and all into their order.
func (p *plan) arrange() {
	for _, at := range p.listed {
		for _, part := range at.parts {
			if part.around == at {
				part.inParts = true
				at.within = append(at.within, part)
			}
		}
	}
	for _, at := range p.plots {
		switch {
		case at.around == nil:
			p.roots = append(p.roots, at)
		case !at.inParts:
			at.around.within = append(at.around.within, at)
		}
	}
	p.ordered = make([]*plot, 0, len(p.plots))
	next := slices.Clone(p.roots)
	slices.Reverse(next)
	for len(next) > 0 {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		p.ordered = append(p.ordered, at)
		around := at.around
		switch {
		case at.listed:
		case around == nil:
			at.end = at
		default:
			at.end = around.end
		}
		if around != nil {
			at.physical = around
			if around.kind.isLogical() {
				at.physical = around.physical
			}
		}
		for _, part := range slices.Backward(at.within) {
			next = append(next, part)
		}
	}
}

// tree returns what the plan has come to.
func (p *plan) tree() *SpaceTree {
	t := &SpaceTree{byID: make(map[string]*SpaceNode, len(p.byID)), roots: nodesOf(p.roots), all: nodesOf(p.ordered), faults: p.faults}
	for id, at := range p.byID {
		t.byID[id] = at.SpaceNode
	}
	sizes := make([]int, len(p.ordered))
	for i, at := range p.ordered {
		at.index = i
		at.children = nodesOf(at.within)
		if at.around != nil {
			at.parent = at.around.SpaceNode
			at.depth = at.parent.depth + 1
			at.site, at.building, at.floor = at.parent.site, at.parent.building, at.parent.floor
		}
		switch at.kind {
		case SpaceSite:
			at.site = at.SpaceNode
		case SpaceBuilding:
			at.building = at.SpaceNode
		case SpaceFloor:
			at.floor = at.SpaceNode
		}
	}
	for i, at := range slices.Backward(p.ordered) {
		sizes[i]++ // itself
		if at.around != nil {
			sizes[at.around.index] += sizes[i]
		}
		end := i + sizes[i]
		at.all = t.all[i:end:end]
	}
	return t
}

func nodesOf(plots []*plot) []*SpaceNode {
	nodes := make([]*SpaceNode, len(plots))
	for i, at := range plots {
		nodes[i] = at.SpaceNode
	}
	return nodes
}
