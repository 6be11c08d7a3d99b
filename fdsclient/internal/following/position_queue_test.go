package following

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

func TestTheFirstMessageOfAKeptSessionDoesNotSayThatItsQueueIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []push.Subscribed{{SessionPresent: true}, {SessionPresent: true, Planned: true}} {
			a := pushing(t, func(cfg *config) { cfg.Gaps.TrustSession, cfg.NoAPI = !s.Planned, true })
			f := followed(t, a, new(webAPI), new(handled).handle)
			before := f.position.at
			time.Sleep(3 * time.Hour) // in which the broker queues
			if err := f.Subscribed(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			m := delivery.Message{Owner: f.owner.Key, Topic: f.owner.Key.SubscriptionID.Root().String() + "x", QoS: 1, Payload: []byte(`{"n":1}`), ReceivedAt: time.Now()}
			if err := f.Live(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			f.Acknowledged(m)
			if at := f.position.at; !at.Equal(before) {
				t.Errorf("%+v: the position moved by %v", s, at.Sub(before))
			}
			f.Stop()
		}
	})
}

// timedState notes when it saves.
type timedState struct {
	statestore.Memory
	mu    sync.Mutex
	saves map[time.Time]int
}

func (s *timedState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.mu.Lock()
	s.saves[time.Now()]++
	s.mu.Unlock()
	return s.Memory.Save(ctx, key, data, revision)
}

func TestOwnersWhoseMessagesComeAtOnceAreStoredInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 10_000
		store := &timedState{saves: map[time.Time]int{}}
		client := pushing(t, func(c *config) { c.Store = store })
		var all []*Follower
		for range owners {
			f := followed(t, client, new(webAPI), func(context.Context, delivery.Message) error { return nil })
			defer f.Stop()
			all = append(all, f)
		}
		pass(time.Minute)
		for name, between := range map[string]time.Duration{"at once": 0, "one after another": time.Millisecond} {
			store.mu.Lock()
			clear(store.saves)
			store.mu.Unlock()
			began := time.Now()
			for _, f := range all {
				time.Sleep(between)
				m := delivery.Message{Owner: f.owner.Key, Topic: root(f) + "a", QoS: 1, Source: delivery.FromPush, ReceivedAt: time.Now(), Payload: []byte(name)}
				if err := f.Live(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				f.Acknowledged(m)
			}
			time.Sleep(2 * time.Minute)
			total, last := 0, time.Duration(0)
			store.mu.Lock()
			for at, n := range store.saves {
				total += n
				last = max(last, at.Sub(began))
				if n > positionsDue {
					t.Errorf("%s: %d positions are stored at a time", name, n)
				}
			}
			if within := max(5*time.Second, positionInterval+owners*between) + 2*positionBatch; total != owners || last > within {
				t.Errorf("%s: %d positions of %d were stored within %v, want within %v", name, total, owners, last, within)
			}
			if most := int(last/positionBatch) + 1; len(store.saves) > most {
				t.Errorf("%s: the store was woken %d times in %v", name, len(store.saves), last)
			}
			store.mu.Unlock()
		}
	})
}
