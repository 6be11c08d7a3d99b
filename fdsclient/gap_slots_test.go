package fdsclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// One backfill at a time, and the handler of the first takes for ever: what it
// holds up is its own owner, and when that signs out nothing of it stays behind.
func TestAHandlerThatHangsInABackfillHoldsUpNoOtherOwnerAndNoSignOut(t *testing.T) {
	t.Parallel() // it waits for slow things
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		cfg.Gaps.Concurrent = 1
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		var box inbox
		stuck := signIn(t, client, p, p.Owners()[0])[0]
		signIn(t, client, p, p.Owners()[1])
		hanging, left := make(chan struct{}, 1), make(chan struct{})
		stop := runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			if m.Owner == stuck.Key() && m.Source == delivery.FromBackfill {
				select {
				case hanging <- struct{}{}:
				default:
				}
				<-ctx.Done()
				close(left)
				return errors.New("it has hung")
			}
			return box.handle(ctx, m)
		})
		var publishers []*events
		for _, o := range p.Owners()[:2] {
			subscribed(t, p, o)
			e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
			e.publish(1)
			e.arrive(&box)
			publishers = append(publishers, e)
		}
		outage := func(i int) {
			t.Helper()
			o := p.Owners()[i]
			heal := inject(t, p, fdstest.RefuseConnections(o))
			inject(t, p, fdstest.LoseSessions(o))
			publishers[i].publish(3)
			heal()
		}
		outage(0)
		select {
		case <-hanging:
		case <-time.After(20 * time.Second):
			t.Fatal("the handler was not called")
		}
		outage(1) // there is one slot, and it is taken
		publishers[1].arrive(&box)
		eventually(t, "the other's gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == 1 })

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		if err := stuck.SignOut(ctx); err != nil {
			t.Error(err)
		}
		t.Logf("the sign-out took %v", time.Since(began).Round(time.Millisecond))
		select {
		case <-left: // its context has ended
		case <-time.After(20 * time.Second):
			t.Fatal("the handler is still at work after the sign-out")
		}
		for n := 2; n < 4; n++ { // the slot is whole again: neither lost nor doubled
			outage(1)
			publishers[1].arrive(&box)
			eventually(t, "the next gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == n })
		}
		stop()
	})
}
