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

// MaxChain bounds the spaces of one chain.
const MaxChain = 64

// Space is an item about a space.
type Space struct {
	Item
}

// ParseSpace takes the JSON of a space. Errors match ErrItem.
func ParseSpace(data []byte) (Space, error) {
	item, err := ParseItem(data)
	if err != nil {
		return Space{}, err
	}
	return Space{item}, nil
}

// ID gives space_id, or "".
func (s Space) ID() string { return s.id("space_id") }

// Type gives space_type, from the generic object or else from the root, or "".
func (s Space) Type() SpaceType {
	return SpaceType(s.text([]string{"generic", "space_type"}, []string{"space_type"}))
}

// Specific gives space_type_specific as raw JSON; a space need not have it.
func (s Space) Specific() (json.RawMessage, bool) { return s.Member("space_type_specific") }

// IsVoid says whether the space is the void that a site is part of.
func (s Space) IsVoid() bool { return s.Type() == SpaceNothing || s.ID() == VoidSpaceID }

// ComposedOf gives the IDs of the spaces inside: a site's buildings, a
// building's floors, a floor's physical spaces. A space without composed_of
// gives none. Errors match ErrItem.
func (s Space) ComposedOf() ([]string, error) {
	for _, path := range [][]string{{"generic", "composed_of"}, {"composed_of"}} {
		ids, err := As[[]string](s.Item, path...)
		if !errors.Is(err, ErrNoMember) {
			return ids, err
		}
	}
	return nil, nil
}

// PartOf gives the spaces that this one is part of, the nearest first: of a
// floor the building, then the site. It reads generic.part_of, whose
// space_chain nests the next space in its own generic.part_of, and ends before
// the void. Errors match ErrItem; a chain of more than MaxChain spaces is one.
func (s Space) PartOf() ([]Space, error) {
	var chain []Space
	for at := s.Item; ; {
		raw, ok := at.Member("generic", "part_of")
		if !ok || string(raw) == "null" {
			return chain, nil
		}
		next, err := ParseSpace(raw)
		if err != nil {
			return nil, fmt.Errorf("fds: generic.part_of of space %s: %w", quoteBounded(s.ID()), err)
		}
		if next.IsVoid() {
			return chain, nil
		}
		if len(chain) == MaxChain {
			return nil, fmt.Errorf("fds: generic.part_of of space %s: %w: over %d spaces in the chain", quoteBounded(s.ID()), ErrItem, MaxChain)
		}
		chain = append(chain, next)
		at = next.Item
	}
}

// Geolocation is a point on the Earth, in degrees. FDS does not say which
// objects hold one: read it with As[Geolocation](item, path...).
type Geolocation struct {
	Longitude float64 `json:"longitude"`
	Latitude  float64 `json:"latitude"`
}
