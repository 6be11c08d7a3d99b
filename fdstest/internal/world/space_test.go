package world_test

import (
	"encoding/json"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

const voidID = "00000000-0000-0000-0000-000000000000"

func spacesOf(t *testing.T, w *world.World, owner fds.SubscriptionID) (byID map[string]item, ids []string) {
	t.Helper()
	byID = map[string]item{}
	for _, raw := range read(t, w, world.Spaces, world.Query{}, owner) {
		it := parse(t, raw)
		if _, twice := byID[it.SpaceID]; twice || it.SpaceID == "" {
			t.Fatalf("space_id %q is empty or there twice", it.SpaceID)
		}
		byID[it.SpaceID] = it
		ids = append(ids, it.SpaceID)
	}
	return byID, ids
}

func TestEveryChainLeadsThroughTheRealSpacesToTheVoid(t *testing.T) {
	w, owners := newWorld(t, 5, world.Config{})
	inside := map[string]string{"building": "site", "floor": "building", "cubicle": "restroom", "room": "floor", "restroom": "floor", "hallway": "floor"}
	for _, owner := range owners {
		byID, ids := spacesOf(t, w, owner)
		kinds := map[string]bool{}
		for _, id := range ids {
			at := byID[id]
			kinds[at.Generic.SpaceType] = true
			for at.Generic.SpaceType != "site" {
				next := parse(t, at.Generic.PartOf)
				real, ok := byID[next.SpaceID]
				if !ok || real.Generic.SpaceType != next.Generic.SpaceType || real.Generic.Name != next.Generic.Name {
					t.Fatalf("the chain of %s names %+v, which is %+v", id, next, real)
				}
				if inside[at.Generic.SpaceType] != next.Generic.SpaceType {
					t.Fatalf("a %s is part of a %s", at.Generic.SpaceType, next.Generic.SpaceType)
				}
				at = next
			}
			void := parse(t, at.Generic.PartOf)
			if void.SpaceID != voidID || void.Generic.SpaceType != "nothing" || string(void.Generic.PartOf) != "null" {
				t.Fatalf("the chain of %s ends in %s", id, at.Generic.PartOf)
			}
		}
		for _, kind := range []string{"site", "building", "floor", "room", "restroom", "hallway", "cubicle"} {
			if !kinds[kind] {
				t.Errorf("no %s", kind)
			}
		}
	}
}

func TestComposedOfAgreesWithPartOf(t *testing.T) {
	w, owners := newWorld(t, 5, world.Config{})
	for _, owner := range owners {
		byID, ids := spacesOf(t, w, owner)
		listed := map[string]string{} // space to what lists it
		for _, id := range ids {
			for _, part := range byID[id].Generic.ComposedOf {
				if before, twice := listed[part]; twice {
					t.Fatalf("%s is in %s and %s", part, before, id)
				}
				listed[part] = id
			}
		}
		for _, id := range ids {
			around := parse(t, byID[id].Generic.PartOf).SpaceID
			if around == voidID {
				around = ""
			}
			if listed[id] != around {
				t.Errorf("%s is part of %q and listed by %q", id, around, listed[id])
			}
		}
		if len(listed) == 0 {
			t.Error("no space is composed of others")
		}
	}
}

func TestSitesHaveAnAddressAndAGeolocation(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	for _, raw := range read(t, w, world.Spaces, world.Query{}, owners...) {
		var s struct {
			Generic struct {
				SpaceType string `json:"space_type"`
			} `json:"generic"`
			Specific struct {
				Address struct {
					Address, Locality, Country string
				} `json:"address"`
				Geolocation struct{ Longitude, Latitude *float64 } `json:"geolocation"`
			} `json:"space_type_specific"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if s.Generic.SpaceType != "site" {
			continue
		}
		a := s.Specific.Address
		if a.Address == "" || a.Locality == "" || len(a.Country) != 2 || s.Specific.Geolocation.Latitude == nil || s.Specific.Geolocation.Longitude == nil {
			t.Errorf("%s", raw)
		}
		return
	}
	t.Error("no site")
}
