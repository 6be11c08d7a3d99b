package following

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// TestAFenceThatClosesWhileAMessageWaitsForTheTurnHolds: it was asked before, and an endpoint's
// handler may have had the turn for long.
func TestAFenceThatClosesWhileAMessageWaitsForTheTurnHolds(t *testing.T) {
	for _, batches := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			errLease := errors.New("the lease is over")
			var closed atomic.Bool
			handled, letters := 0, 0
			all := pushing(t, nil)
			f := all.Follow(t.Context(), all.owner(t, fds.NewSubscriptionID(), http.DefaultTransport), &handoff.Settings{
				Handler: func(context.Context, delivery.Message) error { handled++; return nil },
				Batch: &delivery.Batching{Most: 2, Handler: func(_ context.Context, batch []delivery.Message) error {
					handled += len(batch)
					return nil
				}},
				Fence: func(fds.OwnerKey) error {
					if closed.Load() {
						return errLease
					}
					return nil
				},
			})
			defer f.Stop()
			hand := handoff.New(&handoff.Settings{
				Handler:     f.Live,
				Batch:       f.Batching(),
				MaxAttempts: 1,
				DeadLetter:  func(context.Context, delivery.Message, error) error { letters++; return nil },
				Logger:      all.Log,
			})
			end, err := all.Turn(t.Context(), f.owner.Key)
			if err != nil {
				t.Fatal(err)
			}
			m := delivery.Message{Owner: f.owner.Key, Topic: root(f) + "a", QoS: 1, Source: delivery.FromPush, ReceivedAt: time.Now(), Payload: []byte("1")}
			done := make(chan error, 1)
			go func() {
				if batches {
					it := &handoff.Item{Message: &m, Known: 1}
					hand.Batch(t.Context(), []*handoff.Item{it}, nil)
					done <- it.Err
					return
				}
				done <- hand.Until(t.Context(), &m, nil)
			}()
			synctest.Wait()
			closed.Store(true)
			end()
			if err := <-done; !handoff.Fenced(err) || !errors.Is(err, errLease) {
				t.Errorf("batches %v: the message ended with %v", batches, err)
			}
			if _, fails := hand.Failing(); handled != 0 || letters != 0 || fails {
				t.Errorf("batches %v: %d were handled, %d dead letters, failing %v", batches, handled, letters, fails)
			}
		})
	}
}
