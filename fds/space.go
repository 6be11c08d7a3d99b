package fds

import (
	"encoding/json"
	"errors"
	"fmt"
)

// SpaceType is the kind of a space.
type SpaceType string

// The types of FDS V2. SpaceNothing occurs only in the void chain.
const (
	SpaceSite     SpaceType = "site"
	SpaceBuilding SpaceType = "building"
	SpaceFloor    SpaceType = "floor"
	SpaceSuite    SpaceType = "suite"
	SpaceSection  SpaceType = "section"
	SpaceRoom     SpaceType = "room"
	SpaceHallway  SpaceType = "hallway"
	SpaceCorridor SpaceType = "corridor"
	SpaceAisle    SpaceType = "aisle"
	SpaceRestroom SpaceType = "restroom"
	SpaceToilet   SpaceType = "toilet"
	SpaceCubicle  SpaceType = "cubicle"
	SpaceNothing  SpaceType = "nothing"
)

// VoidSpaceID is the space_id of the void chain, which a site is part of.
const VoidSpaceID = "00000000-0000-0000-0000-000000000000"

// Space is an item about a space.
type Space struct {
	Item
}

// ParseSpace takes the JSON of a space. Errors match ErrItem.
func ParseSpace(data []byte) (Space, error) {
	item, err := ParseItem(data)
	return Space{item}, err
}

// ID returns space_id, or "".
func (s Space) ID() string { return s.id("space_id") }

// Type returns space_type, from the generic object or else from the root, or "".
func (s Space) Type() SpaceType {
	return SpaceType(s.text([]string{"generic", "space_type"}, []string{"space_type"}))
}

// Specific returns space_type_specific as raw JSON; a space need not have it.
func (s Space) Specific() (json.RawMessage, bool) { return s.Member("space_type_specific") }

// IsVoid reports whether the space is the void that a site is part of.
func (s Space) IsVoid() bool { return s.Type() == SpaceNothing || s.ID() == VoidSpaceID }

// ComposedOf returns the IDs of the spaces inside: a site's buildings, a building's floors, a
// floor's physical spaces; none without composed_of. Errors match ErrItem.
func (s Space) ComposedOf() ([]string, error) {
	for _, path := range [][]string{{"generic", "composed_of"}, {"composed_of"}} {
		list, err := As[[]json.RawMessage](s.Item, path...)
		if errors.Is(err, ErrNoMember) {
			continue
		} else if list == nil {
			return nil, err
		}
		ids := make([]string, len(list))
		for i, raw := range list {
			var ok bool
			if ids[i], ok = scalar(raw); !ok && string(raw) != "null" {
				return nil, fmt.Errorf("fds: %s.%d: %w: it is not an ID", pathName(path), i, ErrItem)
			}
		}
		return ids, nil
	}
	return nil, nil
}

// MaxChain bounds the spaces of one chain.
const MaxChain = 64

// PartOf returns the spaces that this one is part of, the nearest first: of a floor the building,
// then the site. It reads generic.part_of, whose space_chain nests the next space in its own
// generic.part_of, and ends before the void. Errors match ErrItem; a chain of more than MaxChain
// spaces is one. The time is linear in the size of the space, whatever it holds.
func (s Space) PartOf() ([]Space, error) {
	chain, err := s.chain()
	var outer []Space
	for _, n := range chain[1:] {
		if n != nil {
			outer = append(outer, n.Space)
		}
	}
	return outer, err
}

// chainLink is a space of a chain, with what is compared of it.
type chainLink struct {
	Space
	id   string
	kind SpaceType
}

func (l *chainLink) isVoid() bool { return l.kind == SpaceNothing || l.id == VoidSpaceID }

// chain returns the space, those that it is part of and, if they end in the void, nil; with an
// error the space alone. It reads all in a single pass: each space encloses all that follow, so
// that a pass for each would make a long chain slow.
func (s Space) chain() (chain []*chainLink, err error) {
	b, malformed := s.raw, false // part_of of the last is neither an object nor null
	var read func(i int) (end int)
	read = func(i int) (end int) {
		n := &chainLink{}
		chain = append(chain, n)
		depth := len(chain)
		var kind, genericKind []byte
		generic := func(name []byte, at int) (end int) {
			if string(name) == "part_of" {
				chain, malformed = chain[:depth], false // of two the last counts
				if b[at] == '{' && depth <= MaxChain+1 {
					return read(at)
				}
			}
			end = skipValue(b, at)
			switch string(name) {
			case "part_of":
				malformed = b[at] != '{' && string(b[at:end]) != "null"
			case "space_type":
				genericKind = b[at:end]
			}
			return end
		}
		end = walkMembers(b, i, func(name []byte, at int) (end int) {
			if string(name) == "generic" {
				chain, malformed, genericKind = chain[:depth], false, nil
				if b[at] == '{' {
					return walkMembers(b, at, generic)
				}
			}
			end = skipValue(b, at)
			switch string(name) {
			case "space_id":
				n.id, _ = scalar(b[at:end])
			case "space_type":
				kind = b[at:end]
			}
			return end
		})
		text, ok := stringValue(genericKind) // as Type has it
		if !ok {
			text, _ = stringValue(kind)
		}
		n.Space, n.kind = Space{Item{b[i:end:end]}}, SpaceType(text)
		return end
	}
	read(skipSpace(b, 0))
	for i, outer := range chain[1:] {
		if outer.isVoid() {
			return append(chain[:i+1], nil), nil
		}
	}
	problem := "it is not a JSON object"
	if len(chain)-1 > MaxChain {
		problem = fmt.Sprintf("over %d spaces in the chain", MaxChain)
	} else if !malformed {
		return chain, nil
	}
	id := quoteBounded(chain[len(chain)-1].id)
	return chain[:1], fmt.Errorf("fds: generic.part_of of space %s: %w: %s", id, ErrItem, problem)
}
