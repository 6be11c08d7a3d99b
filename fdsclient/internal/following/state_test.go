package following

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// manyDigests are those of so many events, each beginning with a number of its own.
func manyDigests(first, n int) (all []byte) {
	for i := range n {
		all = binary.BigEndian.AppendUint64(all, uint64(first+i)<<1|lasting)
	}
	return all
}

// long is a state that is too long for one record; n is in all of it.
func long(n int) record {
	return record{Filters: []string{fmt.Sprint(n)}, Polled: &polledRecord{
		Events:   listRecord{From: time.Unix(int64(n), 0).UTC(), Seen: manyDigests(n, maxSeen), Handed: manyDigests(n, 2*maxHanded)},
		Statuses: listRecord{From: time.Unix(int64(n), 0).UTC(), Seen: manyDigests(n, 10)},
	}}
}

// same reports whether two states say the same, wherever their parts are.
func same(a, b record) bool {
	if (a.Polled == nil) != (b.Polled == nil) || !slices.Equal(a.Filters, b.Filters) {
		return false
	}
	if a.Polled == nil {
		return true
	}
	others := b.Polled.long()
	for i, part := range a.Polled.long() {
		if !bytes.Equal(*part.data, *others[i].data) {
			return false
		}
	}
	return a.Polled.Events.From.Equal(b.Polled.Events.From)
}

// crashingStore fails from a save on, and all after it.
type crashingStore struct {
	statestore.Memory
	left  int // saves that succeed; negative: all do
	names []string
}

func (s *crashingStore) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if s.left == 0 {
		return "", errors.New("the process was killed")
	}
	s.left--
	s.names = append(s.names, key.Name)
	return s.Memory.Save(ctx, key, data, revision)
}

func anOwner() fds.OwnerKey {
	return fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}
}

// Between the saves of two records the one state or the other is there, whole.
func TestACrashBetweenTheSavesOfALongStateLosesNothing(t *testing.T) {
	for left := range 4 {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			store := &crashingStore{left: -1}
			all := polled(t, func(cfg *config) { cfg.Store = store })
			owner := anOwner()
			f := all.Follow(t.Context(), Owner{Key: owner}, nil)
			save := func(n int) error {
				return f.save(t.Context(), func(r *record) { *r = long(n) })
			}
			for n := range 3 { // each takes the other names
				if err := save(n); err != nil {
					t.Fatal(err)
				}
			}
			store.names, store.left = nil, left
			err := save(3)
			want := long(2)
			if err == nil {
				want = long(3)
			}
			if got := all.state(t, owner); !same(got, want) {
				t.Errorf("after %q, and error %v, there is a state of %v", store.names, err, got.Filters)
			}
			if (err == nil) != (left > len(store.names)) && left < len(store.names) {
				t.Errorf("saves %q, %v", store.names, err)
			}
			store.left = -1 // the next process
			next := all.Follow(t.Context(), Owner{Key: owner}, nil)
			for n := 4; n < 7; n++ {
				if err := next.save(t.Context(), func(r *record) { *r = long(n) }); err != nil || !same(all.state(t, owner), long(n)) {
					t.Errorf("save %d after the crash: %v", n, err)
				}
			}
		})
	}
}

func TestALongStateThatIsShortAgainNeedsOneRecord(t *testing.T) {
	store := &crashingStore{left: -1}
	all := polled(t, func(cfg *config) { cfg.Store = store })
	owner := anOwner()
	f := all.Follow(t.Context(), Owner{Key: owner}, nil)
	short := long(1)
	short.Polled.Events.Seen, short.Polled.Events.Handed = manyDigests(1, 10), nil
	for n, state := range []record{long(0), short, long(2), short} {
		store.names = nil
		if err := f.save(t.Context(), func(r *record) { *r = state }); err != nil {
			t.Fatal(err)
		}
		if !same(all.state(t, owner), state) {
			t.Errorf("%d: another state is there", n)
		}
		if want := map[int]int{0: 2, 1: 1}[n%2]; len(store.names) < want || n%2 == 1 && len(store.names) != 1 {
			t.Errorf("%d: saves of %q", n, store.names)
		}
	}
}

// TestAttackNothingOfWhoSignsOutStaysInTheStore: no record of digests either, however long
// the lists were once.
func TestAttackNothingOfWhoSignsOutStaysInTheStore(t *testing.T) {
	short := long(1)
	short.Polled.Events.Seen, short.Polled.Events.Handed = nil, nil
	for name, states := range map[string][]record{"long": {long(0), long(1)}, "short again": {long(0), long(1), short}} {
		for how, end := range map[string]func(*fixture, *Follower) error{
			"followed":          func(_ *fixture, f *Follower) error { return f.Forget(t.Context(), true) },
			"not followed":      func(a *fixture, f *Follower) error { return a.Delete(t.Context(), f.owner.Key) },
			"a session goes on": func(_ *fixture, f *Follower) error { return f.Forget(t.Context(), false) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				all := polled(t, nil)
				f := all.Follow(t.Context(), Owner{Key: anOwner()}, nil)
				for _, state := range states {
					if err := f.save(t.Context(), func(r *record) { *r = state }); err != nil {
						t.Fatal(err)
					}
				}
				if err := end(all, f); err != nil {
					t.Fatal(err)
				}
				for _, part := range new(polledRecord).long() {
					for _, name := range partNames(part.name) {
						if there, err := all.Store.Load(t.Context(), all.key(f.owner.Key, name)); err != nil || there.Revision != "" {
							t.Errorf("%s is there, %d bytes, %v", name, len(there.Data), err)
						}
					}
				}
				state := all.state(t, f.owner.Key)
				if state.Polled != nil || state.Recent != nil || (len(state.Filters) > 0) != (how == "a session goes on") {
					t.Errorf("stored: %+v", state)
				}
			})
		}
	}
}

// TestAttackWhoSignedOutIsNotStoredAgain: whatever comes late.
func TestAttackWhoSignedOutIsNotStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var down = true
		f := followed(t, all, withoutStatuses(&down, new([]string)), new(handled).handle)
		if err := f.Forget(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for name, late := range map[string]func() error{
			"a filter": func() error { return f.SaveFilters(t.Context(), []string{"late"}) },
			"a gap":    func() error { return f.Subscribed(t.Context(), push.Subscribed{Last: errLost}) },
			"a position": func() error {
				pushed(t, f, "late", dated("late", time.Now()), time.Now())
				time.Sleep(time.Minute)
				return nil
			},
			"the end": func() error { f.Stop(); return nil },
		} {
			if err := late(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if there, err := all.Store.Load(t.Context(), all.key(f.owner.Key, stateName)); err != nil || there.Revision != "" {
				t.Errorf("%s that comes late is stored: %s, %v", name, there.Data, err)
			}
		}
	})
}

// Which of two processes has an owner is decided elsewhere: what both have stored is not
// forgotten.
func TestWhatAnotherProcessHasStoredMeanwhileIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		f := followed(t, all, new(webAPI), new(handled).handle)
		pass(time.Hour)
		theirs := all.state(t, f.owner.Key)
		began := theirs.Position
		theirs.Filters = append(theirs.Filters, "theirs")
		theirs.Position = began.Add(-time.Minute)
		theirs.Gap = &Gap{From: began.Add(-time.Hour), Since: time.Now(), Reason: "theirs"}
		theirs.Polled = &polledRecord{Events: listRecord{From: began}}
		all.put(t, f.owner.Key, theirs)
		if err := f.SaveFilters(t.Context(), append(f.Filters(), "ours")); err != nil {
			t.Fatal(err)
		}
		got := all.state(t, f.owner.Key)
		if !slices.Contains(got.Filters, "ours") || !slices.Contains(got.Filters, "theirs") {
			t.Errorf("filters %q", got.Filters)
		}
		if !got.Position.Equal(theirs.Position) || got.Gap == nil || !got.Gap.From.Equal(theirs.Gap.From) || got.Polled == nil {
			t.Errorf("stored: %+v", got)
		}
		f.Stop()
	})
}

func TestTheGapsOfTwoProcessesAreOneThatHoldsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var missed []string
		down := true
		var got handled
		api := withoutStatuses(&down, &missed)
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		missed = append(missed, dated("theirs", time.Now().Add(-50*time.Minute)), dated("ours", time.Now().Add(time.Minute)))
		pass(time.Hour)
		theirs := all.state(t, f.owner.Key)
		theirs.Gap = &Gap{From: time.Now().Add(-2 * time.Hour), Since: time.Now(), Reason: "theirs"}
		all.put(t, f.owner.Key, theirs)
		subscribed(t, f, push.Subscribed{Last: errLost}) // Wait passes, and the gap is stored
		if gap := all.state(t, f.owner.Key).Gap; gap == nil || !gap.From.Equal(theirs.Gap.From) {
			t.Fatalf("stored: %+v", gap)
		}
		api.change(func() { down = false })
		subscribed(t, f, push.Subscribed{Last: errLost})
		pass(10 * time.Minute)
		if got.has("theirs") != 1 || got.has("ours") != 1 || f.open() || all.state(t, f.owner.Key).Gap != nil {
			t.Errorf("of theirs %d, of ours %d were handed over; open %v, stored %v", got.has("theirs"), got.has("ours"), f.open(), all.state(t, f.owner.Key).Gap)
		}
	})
}

// What was asked for while the gap was narrower does not close it.
func TestAGapThatAnotherProcessWidensIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var missed []string
		down := false
		goOn := make(chan struct{})
		var got handled
		f := followed(t, all, withoutStatuses(&down, &missed), func(ctx context.Context, m delivery.Message) error {
			<-goOn
			return got.handle(ctx, m)
		})
		defer f.Stop()
		missed = append(missed, dated("theirs", time.Now().Add(-50*time.Minute)), dated("ours", time.Now().Add(time.Minute)))
		pass(time.Hour)
		theirs := all.state(t, f.owner.Key)
		theirs.Gap = &Gap{From: time.Now().Add(-2 * time.Hour), Since: time.Now(), Reason: "theirs"}
		all.put(t, f.owner.Key, theirs)
		subscribed(t, f, push.Subscribed{Last: errLost}) // Wait passes while the handler is at work
		close(goOn)
		synctest.Wait()
		if got.has("theirs") != 1 || got.has("ours") != 1 || f.open() {
			t.Errorf("of theirs %d, of ours %d were handed over; open %v", got.has("theirs"), got.has("ours"), f.open())
		}
	})
}

func TestAStateThatOthersChangeWithoutRestIsAnErrorAndNoLoop(t *testing.T) {
	store := &contestedStore{}
	all := pushing(t, func(c *config) { c.Store = store })
	f := all.Follow(t.Context(), Owner{Key: anOwner()}, nil)
	if err := f.SaveFilters(t.Context(), []string{"ours"}); !errors.Is(err, fds.ErrConflict) || store.saves > 2*maxConflicts {
		t.Errorf("%v after %d saves", err, store.saves)
	}
}

func TestAStateThatAnotherProcessStoresAtItsEndIsDeletedAllTheSame(t *testing.T) {
	store := &lateStore{}
	all := pushing(t, func(c *config) { c.Store = store })
	f := all.Follow(t.Context(), Owner{Key: anOwner()}, nil)
	if err := f.SaveFilters(t.Context(), []string{"ours"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(t.Context(), true); err != nil {
		t.Error(err)
	}
	if filters, err := all.Stored(t.Context(), f.owner.Key); len(filters) != 0 || err != nil || !store.saved {
		t.Errorf("stored are %q, %v", filters, err)
	}
}

// lateStore has another process save once before a record is deleted.
type lateStore struct {
	statestore.Memory
	saved bool
}

func (s *lateStore) Delete(ctx context.Context, key statestore.Key, revision string) error {
	if !s.saved {
		s.saved = true
		there, err := s.Load(ctx, key)
		if err != nil {
			return err
		}
		if _, err := s.Save(ctx, key, append(there.Data, ' '), there.Revision); err != nil {
			return err
		}
	}
	return s.Memory.Delete(ctx, key, revision)
}

func TestWhoLeftStoresNothingMore(t *testing.T) {
	all := pushing(t, nil)
	f := all.Follow(t.Context(), Owner{Key: anOwner()}, nil)
	if err := f.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.SaveFilters(t.Context(), []string{"ours"}); err != nil {
		t.Fatal(err)
	}
	if filters, err := all.Stored(t.Context(), f.owner.Key); len(filters) != 0 || err != nil {
		t.Errorf("stored are %q, %v", filters, err)
	}
}

// contestedStore has another process save before each save.
type contestedStore struct {
	statestore.Memory
	saves int
}

func (s *contestedStore) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.saves++
	there, err := s.Load(ctx, key)
	if err != nil {
		return "", err
	}
	if _, err := s.Memory.Save(ctx, key, []byte(`{"filters":["theirs"]}`), there.Revision); err != nil {
		return "", err
	}
	return s.Memory.Save(ctx, key, data, revision)
}

func TestWhatTwoProcessesPolledOfLongListsIsStoredWholeThoughOneCrashes(t *testing.T) {
	for left := range 6 {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			store := &crashingStore{left: -1}
			all := polled(t, func(cfg *config) { cfg.Store = store })
			owner := anOwner()
			one, other := all.Follow(t.Context(), Owner{Key: owner}, nil), all.Follow(t.Context(), Owner{Key: owner}, nil)
			save := func(n int) error {
				f := one
				if n%2 == 1 {
					f = other
				}
				return f.save(t.Context(), func(r *record) { *r = long(n) })
			}
			for n := range 4 {
				if err := save(n); err != nil || !same(all.state(t, owner), long(n)) {
					t.Fatalf("save %d: %v, or another state is there", n, err)
				}
			}
			store.left = left
			want := long(3)
			if save(4) == nil {
				want = long(4)
			}
			if got := all.state(t, owner); !same(got, want) {
				t.Errorf("after a crash the state of %v is there in part", got.Filters)
			}
		})
	}
}

// TestAttackAStateOfAnyContentHarmsNobody: the folder may be a stranger's in part.
func TestAttackAStateOfAnyContentHarmsNobody(t *testing.T) {
	for _, data := range []string{
		``, `null`, `[]`, `7`, `{"filters":7}`, `{"position":"x"}`, `{"recent":"AAA"}`, `{"polled":{"events":{"seen":"AAAAAAA="}}}`,
		`{"polled":{"events":{"seen_in":"../../etc/passwd"}}}`, `{"polled":{"events":{"seen_in":"state"}}}`, `{"polled":{"statuses":{"handed_in":"polled.events.seen.a"}}}`,
		`{"gap":{"from":"9999-12-31T23:59:59Z","since":"0001-01-01T00:00:00Z"}}`, strings.Repeat("[", 100_000),
	} {
		t.Run(fmt.Sprintf("%.40q", data), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := polled(t, nil)
				id := fds.NewSubscriptionID()
				api, h := &polledAPI{from: true}, new(had)
				o := all.owner(t, id, api)
				if _, err := all.Store.Save(t.Context(), all.key(o.Key, stateName), []byte(data), ""); err != nil {
					t.Fatal(err)
				}
				f := all.follow(t, o, h.handle)
				f.Poll()
				pass(10 * time.Minute)
				api.event("new", time.Now())
				pass(10 * time.Minute)
				f.Stop()
				expect(t, h, "new")
			})
		})
	}
}
