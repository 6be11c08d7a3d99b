package fdsclient_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/webhook"
)

// gate is a handler whose calls wait to be let go on, and which knows how many were at work at
// once for one owner.
type gate struct {
	begun chan delivery.Message
	goOn  chan struct{}

	mu     sync.Mutex
	atWork map[fds.OwnerKey]int
	most   int
}

func newGate() *gate {
	return &gate{begun: make(chan delivery.Message, 100), goOn: make(chan struct{}), atWork: make(map[fds.OwnerKey]int)}
}

func (g *gate) handle(_ context.Context, m delivery.Message) error {
	g.mu.Lock()
	g.atWork[m.Owner]++
	g.most = max(g.most, g.atWork[m.Owner])
	g.mu.Unlock()
	g.begun <- m
	<-g.goOn
	g.mu.Lock()
	g.atWork[m.Owner]--
	g.mu.Unlock()
	return nil
}

// TestARunAndAWebhookTakeTurnsForAnOwner has each wait for the other's handler, pushed or polled,
// and not for that of another owner.
func TestARunAndAWebhookTakeTurnsForAnOwner(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){
		"pushed": func(*fdsclient.Config) {},
		"polled": polling,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, fdstest.Options{})
			cfg := configure(t, p)
			cfg.Provider.Dialect = p.Dialect()
			change(&cfg)
			polled := cfg.Poll.Interval > 0
			reads := new(pollLog)
			cfg.Hooks = []any{reads}
			client := open(t, cfg)
			o, other := p.Owners()[0], p.Owners()[1]
			signIn(t, client, p, o)
			signIn(t, client, p, other)
			g := newGate()
			e := listenWith(t, client, p, webhook.Settings{HandlerTimeout: 300 * time.Millisecond}, fdstest.Webhook{URL: "https://127.0.0.1:1/{subscription_id}"}, g.handle) // what is published goes elsewhere
			runClient(t, client, g.handle)
			for _, o := range []fdstest.Owner{o, other} {
				if polled {
					reads.more(t, o, 1) // of a newcomer, whatever there is before is for nobody
				} else {
					subscribed(t, p, o)
				}
			}
			say := func(to fdstest.Owner, what string) {
				t.Helper()
				if polled {
					if err := p.AddEvent(to, fmt.Appendf(nil, `{"message_id":%q,"subscription_id":%q,"generic":{}}`, what, to.Spelling)); err != nil {
						t.Fatal(err)
					}
					return
				}
				publish(t, p, to, fmt.Sprintf(`{"message_id":%q}`, what))
			}
			deliver := func(to fdstest.Owner) (status chan int) {
				status = make(chan int, 1)
				go func() {
					reply, err := e.sender.Attempt(context.Background(), fdstest.Attempt{Owner: to, URL: e.url + to.Spelling, Body: fmt.Appendf(nil, `{"serial":%d}`, time.Now().UnixNano())})
					if err != nil { // the test has ended
						return
					}
					status <- reply.Status
				}()
				return status
			}

			say(o, "first")
			if m := <-g.begun; m.Source == delivery.FromWebhook {
				t.Fatalf("%v", m)
			}
			if status := <-deliver(o); status != http.StatusServiceUnavailable {
				t.Errorf("while the run's handler is at work a delivery is answered %d", status)
			}
			beside := deliver(other)
			if m := <-g.begun; m.Source != delivery.FromWebhook || m.Owner.SubscriptionID != other.SubscriptionID {
				t.Errorf("%v", m)
			}
			g.goOn <- struct{}{}
			g.goOn <- struct{}{}
			if status := <-beside; status != http.StatusOK && status != http.StatusServiceUnavailable { // it may have taken too long
				t.Errorf("that of another owner is answered %d", status)
			}

			_ = deliver(o)
			if m := <-g.begun; m.Source != delivery.FromWebhook {
				t.Fatalf("%v", m)
			}
			say(o, "second")
			say(other, "third") // comes while the second waits
			if m := <-g.begun; m.Owner.SubscriptionID != other.SubscriptionID {
				t.Errorf("%v", m)
			}
			g.goOn <- struct{}{}
			g.goOn <- struct{}{}
			if m := <-g.begun; m.Owner.SubscriptionID != o.SubscriptionID || m.Source == delivery.FromWebhook {
				t.Errorf("%v", m)
			}
			close(g.goOn)
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.most != 1 {
				t.Errorf("%d handlers were at work at once for one owner", g.most)
			}
		})
	}
}
