package fds

// isLogical is true of the types whose spaces are logical and always part of a
// larger space.
func (t SpaceType) isLogical() bool { return t == SpaceSuite || t == SpaceSection }

// isPhysical is true of the types of spaces that a floor is composed of.
func (t SpaceType) isPhysical() bool {
	switch t {
	case SpaceRoom, SpaceHallway, SpaceCorridor, SpaceAisle, SpaceRestroom, SpaceToilet, SpaceCubicle:
		return true
	}
	return false
}

// isKnown is true of the types that FDS V2 names; of others there are no rules.
func (t SpaceType) isKnown() bool {
	return t == SpaceSite || t == SpaceBuilding || t == SpaceFloor || t.isLogical() || t.isPhysical()
}

// parts returns what spaces of the type are composed of, or "" when FDS does not
// say.
func (t SpaceType) parts() words {
	switch t {
	case SpaceSite:
		return "buildings"
	case SpaceBuilding:
		return "floors"
	case SpaceFloor:
		return "physical spaces"
	}
	return ""
}

// composes reports whether a space of type t may be named by the composed_of of one
// of type around.
func (t SpaceType) composes(around SpaceType) bool {
	switch around {
	case SpaceSite:
		return t == SpaceBuilding
	case SpaceBuilding:
		return t == SpaceFloor
	case SpaceFloor:
		return t.isPhysical()
	}
	return true
}

// check looks for what FDS rules out in spaces that have their place.
func (p *plan) check() {
	for _, at := range p.plots {
		p.checkParts(at)
		p.checkNamed(at)
		p.checkAround(at)
		p.checkOrphan(at)
	}
}

// checkParts compares composed_of with what the parts say.
func (p *plan) checkParts(at *plot) {
	for _, part := range at.parts {
		if part.kind.isKnown() && !part.kind.composes(at.kind) {
			p.fault(FaultMisplaced, at, idsOf(part), "a %s is composed of %s, but its composed_of names %s", words(at.kind), at.kind.parts(), described(part))
		}
		// A suite and a section may name what is part of a physical space, and a
		// physical space what is part of its suites and sections.
		if part.says > byComposedOf && !part.cut && part.physical != at && !at.kind.isLogical() {
			p.fault(FaultContradiction, at, idsOf(part, part.around), "its composed_of names %s, but that is part of %s", part, part.around)
		}
	}
}

// checkNamed looks whether the parent names the space, too.
func (p *plan) checkNamed(at *plot) {
	around := at.around
	if around == nil || around.ids == nil || at.inParts || at.kind.isLogical() || !at.kind.composes(around.kind) {
		return
	}
	p.fault(FaultContradiction, around, idsOf(at), "its composed_of does not name %s, which is part of it", at)
}

// checkAround looks whether the space may be part of its parent.
func (p *plan) checkAround(at *plot) {
	around := at.around
	var rule words
	var fits bool
	switch {
	case at.kind == SpaceSite:
		rule, fits = "a site is part of the void", around == nil
	case at.cut || at.says == unsaid && (at.damaged || !at.listed):
		return // reported already, or not known
	case at.kind == SpaceBuilding:
		rule, fits = "a building is part of a site", around != nil && around.kind == SpaceSite
	case at.kind == SpaceFloor:
		rule, fits = "a floor is part of a building", around != nil && around.kind == SpaceBuilding
	case at.kind.isLogical():
		rule, fits = words("a "+at.kind+" is part of a larger space"), around != nil
	default:
		return
	}
	switch {
	case fits:
		if at.kind == SpaceFloor && around.listed && len(at.chain) == 1 && !at.toVoid {
			p.fault(FaultMisplaced, at, idsOf(around), "the chain of a floor gives building and site, but its part_of ends at %s", around)
		}
	case at.says == unsaid:
		p.fault(FaultMisplaced, at, nil, "%s, but it has no part_of, and no composed_of names it", rule)
	case around == nil:
		p.fault(FaultMisplaced, at, nil, "%s, but it is part of nothing", rule)
	case at.kind != SpaceSite && !around.kind.isKnown():
		// nothing is known of such a space
	case at.says == byComposedOf && around.kind.parts() != "":
		// checkParts has said it
	default:
		p.fault(FaultMisplaced, at, idsOf(around), "%s, but it is part of %s", rule, described(around))
	}
}

// checkOrphan looks whether the space, when its parent is not in the list, is
// known to be somewhere.
func (p *plan) checkOrphan(at *plot) {
	if !at.listed || at.around == nil {
		return
	}
	if end := at.around.end; end != nil && end.says == unsaid && !end.cut && end.kind != SpaceSite {
		p.fault(FaultOrphan, at, idsOf(at.around), "it is part of %s, which is not in the list, and its chain does not go on to a site", at.around)
	}
}

// described names a space and, if FDS knows it, its type.
func described(at *plot) words {
	text := quoteBounded(at.id)
	if at.kind.isKnown() {
		text += " (" + string(at.kind) + ")"
	}
	return words(text)
}
