package world_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

func TestItemsGivenByHandAreServedByteForByte(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	owner := owners[0]
	odd := func(member, id string) []byte {
		return fmt.Appendf(nil, " {\"z\" :1.0e+02,\n\t\"a\":1, \"a\":-0 ,%q:%q,\"generic\":{\"esc\":\"\\u00e9\\/\\ud83d\\ude00 <&>\"} }\n", member, id)
	}
	for _, c := range []struct {
		kind world.Kind
		id   string
		raw  []byte
		give func([]byte) error
	}{
		{world.Specifications, "HAND_1", odd("device_id", "HAND_1"), func(b []byte) error { return w.AddDevice(owner, b) }},
		{world.Statuses, "HAND_1", odd("device_id", "HAND_1"), func(b []byte) error { return w.SetStatus(owner, b) }},
		{world.Statistics, "HAND_1", odd("device_id", "HAND_1"), func(b []byte) error { return w.SetStatistic(owner, b) }},
		{world.Diagnostics, "HAND_1", odd("device_id", "HAND_1"), func(b []byte) error { return w.SetDiagnostic(owner, b) }},
		{world.Spaces, "HAND_S", odd("space_id", "HAND_S"), func(b []byte) error { return w.AddSpace(owner, b) }},
		{world.Events, "HAND_1", odd("device_id", "HAND_1"), func(b []byte) error { return w.AddEvent(owner, b) }},
		{world.EventSpecifications, "hand_code", odd("code", "hand_code"), func(b []byte) error { return w.AddEventSpecification(b) }},
	} {
		given := bytes.Clone(c.raw)
		if err := c.give(given); err != nil {
			t.Fatalf("%s: %v", c.kind, err)
		}
		clear(given) // the world must have a copy
		got := read(t, w, c.kind, world.Query{IDs: []string{c.id}}, owner)
		if len(got) != 1 || !bytes.Equal(got[0], c.raw) {
			t.Errorf("%s: gave %q, got %q", c.kind, c.raw, got)
		}
	}
}

func TestAStatusAndAnEventGivenByHandArePublishedAsGiven(t *testing.T) {
	var got []string
	w, owners := newWorld(t, 1, world.Config{Devices: -1, Publish: func(_ fds.SubscriptionID, levels []string, payload []byte, _ byte, _ bool) {
		got = append(got, fmt.Sprint(levels, string(payload)))
	}})
	for _, err := range []error{
		w.AddDevice(owners[0], []byte(`{"device_id":"a/b+c#d%e$"}`)),
		w.SetStatus(owners[0], []byte(`{"device_id":"a/b+c#d%e$", "n":1.50}`)),
		w.AddEvent(owners[0], []byte(`{"device_id":"$x","generic":{"device_id":"$y"}}`)),
		w.AddEvent(owners[0], []byte(`{"space_id":"s"}`)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`[devices a%2Fb%2Bc%23d%25e$ status]{"device_id":"a/b+c#d%e$", "n":1.50}`,
		`[devices %24y events]{"device_id":"$x","generic":{"device_id":"$y"}}`,
		`[spaces s events]{"space_id":"s"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReplacingKeepsThePlaceInTheList(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	for kind, replace := range map[world.Kind]func(id string) error{
		world.Specifications: func(id string) error {
			return w.AddDevice(owners[0], fmt.Appendf(nil, `{"device_id":%q,"new":true}`, id))
		},
		world.Spaces: func(id string) error {
			return w.AddSpace(owners[0], fmt.Appendf(nil, `{"space_id":%q,"new":true}`, id))
		},
	} {
		before := read(t, w, kind, world.Query{}, owners...)
		it := parse(t, before[3])
		if err := replace(it.DeviceID + it.SpaceID); err != nil {
			t.Fatal(err)
		}
		after := read(t, w, kind, world.Query{}, owners...)
		if len(after) != len(before) || !bytes.Contains(after[3], []byte(`"new":true`)) {
			t.Errorf("%s: %d items were, %d are, the fourth is %s", kind, len(before), len(after), after[3])
		}
	}
}

func TestLifeLeavesAStatusGivenByHandAlone(t *testing.T) {
	var c clock
	w, owners := newWorld(t, 1, world.Config{Now: c.Now})
	id := parse(t, read(t, w, world.Specifications, world.Query{}, owners...)[0]).DeviceID
	raw := fmt.Sprintf(`{"device_id":%q,"mine":1}`, id)
	if err := w.SetStatus(owners[0], []byte(raw)); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		c.add(time.Hour)
		for _, p := range w.Step(time.Hour) {
			if p.Levels[1] == id {
				t.Fatalf("published %s", p.Payload)
			}
		}
	}
	if got := read(t, w, world.Statuses, world.Query{IDs: []string{id}}, owners...); len(got) != 1 || string(got[0]) != raw {
		t.Errorf("the status is %s", got)
	}
}

func TestUnusableItemsAreRefusedWithAReason(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	stranger := subscription(t, 99)
	for name, err := range map[string]error{
		"not JSON":       w.AddDevice(owners[0], []byte(`{"device_id":`)),
		"empty":          w.AddEvent(owners[0], nil),
		"an array":       w.AddEvent(owners[0], []byte(`[{}]`)),
		"no ID":          w.AddDevice(owners[0], []byte(`{}`)),
		"an ID of truth": w.AddDevice(owners[0], []byte(`{"device_id":true}`)),
		"no space ID":    w.AddSpace(owners[0], []byte(`{}`)),
		"no code":        w.AddEventSpecification([]byte(`{}`)),
		"unknown device": w.SetStatus(owners[0], []byte(`{"device_id":"nobody"}`)),
	} {
		if !errors.Is(err, world.ErrItem) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.AddEvent(stranger, []byte(`{}`)); !errors.Is(err, world.ErrOwner) {
		t.Errorf("unknown owner: %v", err)
	}
}

func TestDateRangesSelectFromInclusiveToExclusive(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{Devices: -1})
	for i := range 4 {
		raw := fmt.Appendf(nil, `{"n":%d,"generic":{"date_time":"2026-01-01T0%d:00:00+01:00"}}`, i, i)
		if err := w.AddEvent(owners[0], raw); err != nil {
			t.Fatal(err)
		}
		if err := w.AddDevice(owners[0], fmt.Appendf(nil, `{"device_id":"d%d"}`, i)); err != nil {
			t.Fatal(err)
		}
		if err := w.SetStatus(owners[0], fmt.Appendf(nil, `{"device_id":"d%d","n":%d,"date_time":"2026-01-01T0%d:00:00+01:00"}`, i, i, i)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(hour int) time.Time {
		return time.Date(2026, 1, 1, hour, 0, 0, 0, time.FixedZone("", 3600))
	}
	for _, c := range []struct {
		q    world.Query
		want string
	}{
		{world.Query{From: at(1), To: at(3)}, "[1 2]"},
		{world.Query{From: at(2)}, "[2 3]"},
		{world.Query{To: at(1)}, "[0]"},
		{world.Query{}, "[0 1 2 3]"},
	} {
		for _, kind := range []world.Kind{world.Events, world.Statuses} {
			var got []int
			for _, raw := range read(t, w, kind, c.q, owners...) {
				var n struct{ N int }
				if err := json.Unmarshal(raw, &n); err != nil {
					t.Fatal(err)
				}
				got = append(got, n.N)
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%s %+v: %v, want %s", kind, c.q, got, c.want)
			}
		}
	}
}

func TestStatisticsOfDispensersAreNotImplementedUntilGivenByHand(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	byType := map[string]string{}
	for _, raw := range read(t, w, world.Specifications, world.Query{}, owners...) {
		it := parse(t, raw)
		byType[it.Generic.DeviceType] = it.DeviceID
	}
	for _, c := range []struct {
		kind  world.Kind
		types []string
		items int // -1: not implemented
	}{
		{world.Statistics, []string{"dispenser"}, -1},
		{world.Statistics, []string{"dispenser", "smart_handle"}, -1},
		{world.Statistics, []string{"dispenser", "people_counter"}, 1},
		{world.Statistics, []string{"cleaning_machine"}, 1},
		{world.Diagnostics, []string{"people_counter"}, -1},
		{world.Diagnostics, []string{"dispenser", "cleaning_machine"}, 2},
		{world.Statuses, []string{"dispenser", "cleaning_machine", "people_counter", "smart_handle"}, 4},
	} {
		var ids []string
		for _, deviceType := range c.types {
			ids = append(ids, byType[deviceType])
		}
		items, err := w.Read(owners, c.kind, world.Query{IDs: ids})
		if c.items < 0 {
			if !errors.Is(err, world.ErrNotImplemented) {
				t.Errorf("%s of %v: %d items, %v", c.kind, c.types, len(items), err)
			}
		} else if err != nil || len(items) != c.items {
			t.Errorf("%s of %v: %d items, %v", c.kind, c.types, len(items), err)
		}
	}
	if items, err := w.Read(owners, world.Statistics, world.Query{IDs: []string{"unknown"}}); err != nil || len(items) != 0 {
		t.Errorf("an unknown device: %s, %v", items, err)
	}
	id := byType["dispenser"]
	if err := w.SetStatistic(owners[0], fmt.Appendf(nil, `{"device_id":%q}`, id)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, w, world.Statistics, world.Query{IDs: []string{id}}, owners...); len(got) != 1 {
		t.Errorf("the statistic given by hand: %s", got)
	}
}

func TestTagsKeepWhatTheConsumerSent(t *testing.T) {
	w, owners := newWorld(t, 2, world.Config{})
	a, b := owners[0], owners[1]
	id, item, err := w.AddTag(a, []byte(" {\"generic\":{\"n\":1.0} }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(` {"tag_id":"%s","generic":{"n":1.0} ,"entities":[]}`, id); string(item) != want {
		t.Errorf("got %s, want %s", item, want)
	}
	if _, _, err := w.AddTag(a, []byte(`{"tag_id":"mine","generic":{}}`)); err != nil {
		t.Fatal(err)
	}
	device := parse(t, read(t, w, world.Specifications, world.Query{}, a)[0]).DeviceID
	space := parse(t, read(t, w, world.Spaces, world.Query{}, a)[0]).SpaceID
	foreign := parse(t, read(t, w, world.Specifications, world.Query{}, b)[0]).DeviceID
	both := []fds.SubscriptionID{a, b}
	entities := fmt.Sprintf(`[%q, {"space_id":%q}]`, device, space)
	given := []byte(entities)
	item, err = w.SetEntities(both, "mine", given)
	clear(given) // the world must have a copy
	if want := fmt.Sprintf(`{"tag_id":"mine","generic":{},"entities":%s}`, entities); err != nil || string(item) != want {
		t.Errorf("got %s, %v, want %s", item, err, want)
	}
	if got := read(t, w, world.Tags, world.Query{IDs: []string{"mine"}}, a); len(got) != 1 || !bytes.Equal(got[0], item) {
		t.Errorf("shown as %s", got)
	}
	if got := read(t, w, world.Tags, world.Query{}, b); len(got) != 0 {
		t.Errorf("another owner sees %s", got)
	}

	errOf := func(_ any, err error) error { return err }
	addErr := func(raw string) error { _, _, err := w.AddTag(a, []byte(raw)); return err }
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"taken ID", addErr(`{"tag_id":"mine","generic":{}}`), world.ErrTagExists},
		{"no generic object", addErr(`{"generic":[]}`), world.ErrItem},
		{"entities at once", addErr(`{"generic":{},"entities":[]}`), world.ErrItem},
		{"an ID of number", addErr(`{"tag_id":1,"generic":{}}`), world.ErrItem},
		{"unknown tag", errOf(w.SetEntities(both, "none", []byte(`[]`))), world.ErrTag},
		{"another owner's tag", errOf(w.SetEntities([]fds.SubscriptionID{b}, "mine", []byte(`[]`))), world.ErrTag},
		{"another owner's device", errOf(w.SetEntities([]fds.SubscriptionID{a}, "mine", fmt.Appendf(nil, `[%q]`, foreign))), world.ErrEntity},
		{"no array", errOf(w.SetEntities(both, "mine", []byte(`null`))), world.ErrItem},
		{"an unknown number among the IDs", errOf(w.SetEntities(both, "mine", []byte(`[1]`))), world.ErrEntity},
		{"null among the IDs", errOf(w.SetEntities(both, "mine", []byte(`[null]`))), world.ErrItem},
		{"deleting another owner's", w.DeleteTag([]fds.SubscriptionID{b}, "mine"), world.ErrTag},
		{"deleting", w.DeleteTag(both, "mine"), nil},
		{"deleting again", w.DeleteTag(both, "mine"), world.ErrTag},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	for range world.MaxTags - 1 {
		if err := addErr(`{"generic":{}}`); err != nil {
			t.Fatal(err)
		}
	}
	if err := addErr(`{"generic":{}}`); !errors.Is(err, world.ErrTooManyTags) {
		t.Errorf("one tag too many: %v", err)
	}
}
