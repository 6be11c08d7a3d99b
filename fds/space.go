package fds

import (
	"encoding/json"
	"errors"
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
	if err != nil {
		return Space{}, err
	}
	return Space{item}, nil
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

// ComposedOf returns the IDs of the spaces inside: a site's buildings, a
// building's floors, a floor's physical spaces. A space without composed_of
// returns none. Errors match ErrItem.
func (s Space) ComposedOf() ([]string, error) {
	for _, path := range [][]string{{"generic", "composed_of"}, {"composed_of"}} {
		if ids, ok := s.ids(path); ok {
			return ids, nil
		}
		ids, err := As[[]string](s.Item, path...) // for its error, or none
		if !errors.Is(err, ErrNoMember) {
			return ids, err
		}
	}
	return nil, nil
}

// ids reads a list of IDs, strings or numbers; false: it is none.
func (s Space) ids(path []string) ([]string, bool) {
	list, err := As[[]json.RawMessage](s.Item, path...)
	if err != nil || len(list) == 0 {
		return nil, false
	}
	var ids []string
	for _, raw := range list {
		id, ok := scalar(raw)
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}
