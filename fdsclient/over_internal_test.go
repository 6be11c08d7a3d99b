package fdsclient

import (
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// TestARunLetsGoOfAnOwnerBeforeItMayHaveItAnew: were it to let go after that, it would do so of what
// it has begun anew, which another Run could have besides.
func TestARunLetsGoOfAnOwnerBeforeItMayHaveItAnew(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		const issuer = "https://auth.example.com"
		client, err := New(Config{
			Provider:    Provider{Issuer: issuer, APIURL: "https://api.example.com", Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"}},
			Application: Application{ClientID: "app"},
			Poll:        Poll{Interval: time.Minute},
			Store:       tokenstore.OpenMemory(),
			State:       new(statestore.Memory),
			Logger:      slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		id := fds.NewSubscriptionID().String()
		o := client.known.register(client, tokenstore.Entry{Key: tokenstore.Key{Issuer: issuer, ClientID: "app", GrantID: "g"}, Subscriptions: []string{id}}, false)[0]
		told := make(chan struct{})
		r := &run{client: client, active: make(map[fds.OwnerKey]*connected)}
		r.selection.Stopped = func(fds.OwnerKey, error) { close(told) }
		a := &connected{owner: o, done: make(chan struct{}), follower: client.follow(t.Context(), o, nil, new(handoff.Settings))}
		if !r.hold(o.key) {
			t.Fatal("it is not free")
		}
		if fenced {
			why := errors.New("the lease is over")
			a.fence.Store(&why)
			r.active[o.key] = a
		}
		client.mu.Lock() // which who lets go needs
		r.work.Add(1)
		go r.over(a, new(destination), func() {})
		<-told
		for range 10_000 {
			runtime.Gosched()
			select {
			case <-a.done:
				t.Fatalf("fenced %v: it has ended, and the run has not let go", fenced)
			default:
			}
			if fenced && r.of(o.key) == nil {
				t.Fatal("the run may start it anew, and has not let go")
			}
		}
		client.mu.Unlock()
		<-a.done
		client.mu.Lock()
		if client.held[o.key] != nil || r.of(o.key) != nil {
			t.Errorf("fenced %v: the run has the owner still", fenced)
		}
		client.mu.Unlock()
	}
}
