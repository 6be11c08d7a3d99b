package following

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/statestore"
)

// heldState holds saves up, once it is told to, until they are let go.
type heldState struct {
	statestore.Memory
	holds   atomic.Bool
	arrived chan struct{} // one for each save that is held up
	letGo   chan struct{} // closed
}

func (s *heldState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if s.holds.Load() {
		s.arrived <- struct{}{}
		<-s.letGo
	}
	return s.Memory.Save(ctx, key, data, revision)
}

func TestMessagesGoOnWhileTheStoreIsBusy(t *testing.T) {
	const owners = 2 * positionSaves // half of them wait for the others' saves
	store := &heldState{arrived: make(chan struct{}, owners), letGo: make(chan struct{})}
	handled := 0
	client := pushing(t, func(c *config) { c.Store = store })
	var all []*Follower
	for range owners {
		f := followed(t, client, new(webAPI), func(context.Context, delivery.Message) error {
			handled++
			return nil
		})
		defer f.Stop()
		all = append(all, f)
	}
	done := make(chan struct{}, 1)
	message := func(n int) {
		for _, f := range all {
			m := delivery.Message{Owner: f.owner.Key, Topic: root(f) + "a", QoS: 1, Source: delivery.FromPush, ReceivedAt: time.Now(), Payload: []byte{byte('0' + n)}}
			if err := f.Live(t.Context(), m); err != nil {
				t.Error(err)
			}
			f.Acknowledged(m)
		}
		done <- struct{}{}
	}
	timeout := time.After(20 * time.Second)
	wait := func(c <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-c:
		case <-timeout:
			t.Fatal(what)
		}
	}
	defer func() {
		store.holds.Store(false)
		close(store.letGo)
	}()
	store.holds.Store(true)
	go message(0)
	wait(done, "messages are held up by what is to be stored of them")
	for range positionSaves {
		wait(store.arrived, "too few positions are being stored")
	}
	for n := range 5 { // the saves are held up all the while
		go message(n + 1)
		wait(done, "messages are held up by the saves of positions")
	}
	if handled != 6*owners {
		t.Errorf("%d messages were handled, want %d", handled, 6*owners)
	}
}
