package world_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

func TestTheSameSeedStepsAndClockMakeTheSameBytes(t *testing.T) {
	live := func(seed uint64, between func(*world.World, []fds.SubscriptionID)) (pushed, shown string) {
		var c clock
		var b strings.Builder
		w, owners := newWorld(t, 3, world.Config{Seed: seed, Now: c.Now, Publish: func(o fds.SubscriptionID, levels []string, payload []byte, _ byte, _ bool) {
			fmt.Fprintln(&b, o, levels, string(payload))
		}})
		for range 20 {
			c.add(time.Minute)
			w.Step(time.Hour)
			w.Tick()
			between(w, owners)
		}
		return b.String(), snapshot(t, w, owners...)
	}
	quiet := func(*world.World, []fds.SubscriptionID) {}
	pushed, shown := live(7, quiet)
	if len(pushed) == 0 {
		t.Fatal("nothing was pushed")
	}
	pushedAgain, shownAgain := live(7, func(w *world.World, owners []fds.SubscriptionID) {
		// Requests and tags must not change life.
		_ = snapshot(t, w, owners...)
		if _, _, err := w.AddTag(owners[0], []byte(`{"generic":{}}`)); err != nil {
			t.Fatal(err)
		}
	})
	if pushed != pushedAgain || shown != shownAgain {
		t.Error("the same seed made another life")
	}
	if other, _ := live(8, quiet); other == pushed {
		t.Error("another seed made the same life")
	}
}

func TestAStepPublishesWhatIsThenShown(t *testing.T) {
	var c clock
	var w *world.World
	var got []world.Publication
	w, owners := newWorld(t, 2, world.Config{Now: c.Now, Publish: func(o fds.SubscriptionID, levels []string, payload []byte, qos byte, retain bool) {
		got = append(got, world.Publication{Owner: o, Levels: levels, Payload: payload, QoS: qos, Retain: retain})
		kind := map[string]world.Kind{"status": world.Statuses, "events": world.Events}[levels[2]]
		shown := read(t, w, kind, world.Query{IDs: []string{levels[1]}}, o)
		if len(levels) != 3 || levels[0] != "devices" || !slices.ContainsFunc(shown, func(raw json.RawMessage) bool { return bytes.Equal(raw, payload) }) {
			t.Errorf("%v was published and is not shown", levels)
		}
		if qos != 1 || retain {
			t.Errorf("%v: QoS %d, retain %v", levels, qos, retain)
		}
	}})
	returned := w.Step(0)
	if len(returned) != 0 {
		t.Errorf("a step of no time published %d messages", len(returned))
	}
	for range 10 {
		c.add(10 * time.Minute)
		returned = append(returned, w.Step(10*time.Minute)...)
	}
	if len(returned) != len(got) {
		t.Fatalf("returned %d, published %d", len(returned), len(got))
	}
	kinds := map[string]int{}
	for i, p := range returned {
		if p.Owner != got[i].Owner || !slices.Equal(p.Levels, got[i].Levels) || !bytes.Equal(p.Payload, got[i].Payload) {
			t.Fatalf("publication %d differs from what was returned", i)
		}
		kinds[p.Owner.String()+p.Levels[2]]++
	}
	if len(kinds) != 2*len(owners) {
		t.Errorf("want statuses and events of both owners, got %v", kinds)
	}
	// Every event about a device that the steps added was published.
	published := map[string]bool{}
	for _, p := range got {
		published[string(p.Payload)] = true
	}
	for _, raw := range read(t, w, world.Events, world.Query{From: start.Add(time.Millisecond)}, owners...) {
		if parse(t, raw).Generic.DeviceID != "" && !published[string(raw)] {
			t.Errorf("%s is shown and was not published", raw)
		}
	}
}

func TestStatusesAreRetainedOnRequestAndEventsNever(t *testing.T) {
	var c clock
	w, _ := newWorld(t, 1, world.Config{Now: c.Now, RetainStatuses: true})
	seen := map[string]bool{}
	for range 20 {
		c.add(time.Hour)
		for _, p := range w.Step(time.Hour) {
			seen[p.Levels[2]] = true
			if p.Retain != (p.Levels[2] == "status") {
				t.Fatalf("%v: retain %v", p.Levels, p.Retain)
			}
		}
	}
	if !seen["status"] || !seen["events"] {
		t.Fatalf("saw only %v", seen)
	}
}

func TestEventsAboutSpacesAreInTheHistoryAndNeverPushed(t *testing.T) {
	var c clock
	w, owners := newWorld(t, 1, world.Config{Now: c.Now})
	for range 48 {
		c.add(time.Hour)
		for _, p := range w.Step(time.Hour) {
			if it := parse(t, p.Payload); p.Levels[0] != "devices" || it.Generic.SpaceID != "" {
				t.Fatalf("pushed %v %s", p.Levels, p.Payload)
			}
		}
	}
	if !slices.ContainsFunc(read(t, w, world.Events, world.Query{}, owners...), func(raw json.RawMessage) bool {
		return parse(t, raw).Generic.SpaceID != ""
	}) {
		t.Fatal("no event about a space in two days")
	}
}

func TestAnOwnerHasDevicesOfAllTypesAndCategoriesInItsSpaces(t *testing.T) {
	w, owners := newWorld(t, 2, world.Config{})
	ids := map[string]bool{}
	for _, owner := range owners {
		spaces := map[string]bool{}
		for _, raw := range read(t, w, world.Spaces, world.Query{}, owner) {
			spaces[parse(t, raw).SpaceID] = true
		}
		kinds := map[string]bool{}
		for _, raw := range read(t, w, world.Specifications, world.Query{}, owner) {
			it := parse(t, raw)
			kinds[strings.Join([]string{it.Generic.DeviceType, it.Device.Category, it.Device.OperatingMode, it.Device.SensorTechnology}, " ")] = true
			if !spaces[it.Generic.SpaceID] {
				t.Errorf("%s is in no space of its owner", raw)
			}
			if ids[it.DeviceID] {
				t.Errorf("two devices are %s", it.DeviceID)
			}
			ids[it.DeviceID] = true
		}
		for _, want := range []string{
			"dispenser toilet_paper  ", "dispenser paper_towel  ", "dispenser cotton_towel  ", "dispenser soap  ",
			"dispenser lotion  ", "dispenser disinfectant  ", "dispenser room_fragrance  ",
			"cleaning_machine  walk_behind ", "cleaning_machine  ride_on ", "smart_handle   ",
			"people_counter   radar", "people_counter   time_of_flight", "people_counter   image", "people_counter   sonar",
		} {
			if !kinds[want] {
				t.Errorf("no %q among %v", want, kinds)
			}
		}
	}
	if len(ids) != 80 {
		t.Errorf("%d devices, want 40 an owner", len(ids))
	}
}

func TestFillLevelsSinkAndDispensersAreRefilled(t *testing.T) {
	var c clock
	w, _ := newWorld(t, 1, world.Config{Now: c.Now})
	level := map[string]float64{}
	sank, rose := 0, 0
	refilled := map[string]bool{} // since the last status
	for range 200 {
		c.add(15 * time.Minute)
		for _, p := range w.Step(15 * time.Minute) {
			it := parse(t, p.Payload)
			switch {
			case it.Generic.Code == "dispenser_refilled":
				refilled[it.Generic.DeviceID] = true
			case it.Generic.DeviceType == "dispenser":
				before, known := level[it.DeviceID]
				switch now := it.Device.FillLevel; {
				case now < 0 || now > 100:
					t.Fatalf("fill level %v", now)
				case known && now < before:
					sank++
				case known && now > before:
					rose++
					if !refilled[it.DeviceID] {
						t.Fatalf("%s rose from %v to %v without a refill", it.DeviceID, before, now)
					}
				}
				level[it.DeviceID] = it.Device.FillLevel
				delete(refilled, it.DeviceID)
			}
		}
	}
	if sank == 0 || rose == 0 {
		t.Errorf("%d levels sank, %d rose", sank, rose)
	}
}

func TestCountCyclesFollowOneAnotherAndAddUp(t *testing.T) {
	var c clock
	w, owners := newWorld(t, 1, world.Config{Now: c.Now})
	for range 5 {
		c.add(time.Hour)
		w.Step(time.Hour)
	}
	from, to := c.Now().Add(-3*time.Hour), c.Now().Add(-time.Hour)
	counters := 0
	for _, raw := range read(t, w, world.Statistics, world.Query{From: from, To: to}, owners...) {
		it := parse(t, raw)
		if it.Generic.DeviceType != "people_counter" {
			continue
		}
		counters++
		sum := 0
		for i, cycle := range it.Device.Cycles {
			sum += cycle.Count
			if cycle.End.Before(from) || !cycle.End.Before(to) || !cycle.Start.Before(cycle.End) {
				t.Fatalf("cycle %v to %v in the range %v to %v", cycle.Start, cycle.End, from, to)
			}
			if i > 0 {
				if before := it.Device.Cycles[i-1]; cycle.Sequence != before.Sequence+1 || !cycle.Start.Equal(before.End) {
					t.Fatalf("cycle %+v follows %+v", cycle, before)
				}
			}
		}
		if len(it.Device.Cycles) != 8 || sum != it.Device.Count || sum == 0 {
			t.Errorf("%d cycles of 15 minutes in two hours, %d in all, %d said", len(it.Device.Cycles), sum, it.Device.Count)
		}
	}
	if counters == 0 {
		t.Error("no people counter has a statistic")
	}
}

func TestEventsCarryWhatTheEventSpecificationsExplain(t *testing.T) {
	var c clock
	w, owners := newWorld(t, 1, world.Config{Now: c.Now})
	known := map[string]bool{}
	for _, raw := range read(t, w, world.EventSpecifications, world.Query{}) {
		known[parse(t, raw).Code] = true
	}
	events := read(t, w, world.Events, world.Query{}, owners...)
	if len(events) == 0 {
		t.Fatal("the day before an owner was added had no events")
	}
	seen := map[string]bool{}
	for _, raw := range events {
		it := parse(t, raw)
		if _, err := fds.ParseSubscriptionID(it.MessageID); err != nil || seen[it.MessageID] {
			t.Errorf("message_id %q is no fresh UUID", it.MessageID)
		}
		seen[it.MessageID] = true
		g := it.Generic
		if !known[g.Code] || g.Severity == "" || g.Message == "" || (g.DeviceID == "") == (g.SpaceID == "") {
			t.Errorf("%s", raw)
		}
		if g.DateTime.After(start) || g.DateTime.Before(start.Add(-24*time.Hour)) {
			t.Errorf("dated %v", g.DateTime)
		}
	}
}

func TestNoDateLiesInTheFuture(t *testing.T) {
	var c clock
	w, _ := newWorld(t, 1, world.Config{Now: c.Now})
	for _, moved := range []time.Duration{time.Second, -time.Hour} { // also with a clock set back
		c.add(moved)
		out := w.Step(100 * time.Hour)
		if len(out) == 0 {
			t.Fatal("nothing happened")
		}
		for _, p := range out {
			if at := parse(t, p.Payload).Generic.DateTime; at.After(c.Now()) {
				t.Fatalf("now is %v, %s", c.Now(), p.Payload)
			}
		}
	}
}

func TestTheHistoryIsBoundedAndTheOldestGoFirst(t *testing.T) {
	id := subscription(t, 1)
	w := world.New(world.Config{Devices: -1})
	if err := w.AddOwner(id, "x"); err != nil {
		t.Fatal(err)
	}
	for i := range world.MaxEvents + 5 {
		if err := w.AddEvent(id, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	events := read(t, w, world.Events, world.Query{}, id)
	if len(events) != world.MaxEvents || string(events[0]) != `{"n":5}` {
		t.Errorf("%d events, the first %s", len(events), events[0])
	}
}

func TestRunSpeaksForAllOwnersInTurnUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type spoken struct {
			owner fds.SubscriptionID
			at    time.Duration
		}
		began := time.Now()
		var mu sync.Mutex
		var got []spoken
		w, owners := newWorld(t, 3, world.Config{Publish: func(o fds.SubscriptionID, levels []string, _ []byte, _ byte, _ bool) {
			if levels[2] == "status" {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, spoken{o, time.Since(began)})
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx, 2*time.Second) }()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if len(got) != 1 {
			t.Errorf("%d messages after half a second, want 1", len(got))
		}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		if len(got) != 6 {
			t.Fatalf("%d messages in 10.5 s, want 6", len(got))
		}
		for i, s := range got {
			if s.owner != owners[i%3] || s.at != 500*time.Millisecond+time.Duration(i)*2*time.Second {
				t.Errorf("message %d: %v at %v", i, s.owner, s.at)
			}
		}
	})
}

func TestAWorldWithoutDevicesRunsInSilence(t *testing.T) {
	w, owners := newWorld(t, 2, world.Config{Devices: -1})
	if out := append(w.Tick(), w.Step(time.Hour)...); len(out) != 0 {
		t.Errorf("published %v", out)
	}
	if shown := read(t, w, world.Spaces, world.Query{}, owners...); len(shown) != 0 {
		t.Errorf("spaces %s", shown)
	}
}

func TestAnOwnerIsAddedOnceAndNeedsAnID(t *testing.T) {
	w, owners := newWorld(t, 1, world.Config{})
	for _, id := range []fds.SubscriptionID{owners[0], {}} {
		if err := w.AddOwner(id, "again"); !errors.Is(err, world.ErrOwner) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestReadersAndLifeDoNotRace(t *testing.T) {
	w, owners := newWorld(t, 4, world.Config{Devices: 10, Publish: func(fds.SubscriptionID, []string, []byte, byte, bool) {}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				w.Tick()
				w.Step(time.Hour)
			}
		})
		wg.Go(func() {
			for range 10 {
				for _, kind := range everything {
					if _, err := w.Read(owners, kind, world.Query{}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
