package fdsclient_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestTheBackfillsOfManyOwnersShareABoundAndLeaveNoGoroutineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners, most = 60, 4
		var all []fdstest.Owner
		for range owners {
			all = append(all, fdstest.Owner{Spelling: fds.NewSubscriptionID().String()})
		}
		p := start(t, fdstest.Options{Owners: all})
		var mu sync.Mutex
		now, top, total := 0, 0, 0
		inject(t, p, fdstest.RewriteAnswer(fdstest.APIEndpoint, func(*fdstest.Reply) {
			mu.Lock()
			now, total = now+1, total+1
			top = max(top, now)
			mu.Unlock()
			time.Sleep(10 * time.Millisecond) // so that they meet
			mu.Lock()
			now--
			mu.Unlock()
		}))
		cfg := configure(t, p)
		cfg.Gaps.Concurrent = most
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		signIn(t, client, p, p.Owners()...)
		var box inbox
		runClient(t, client, box.handle)
		for _, o := range p.Owners() {
			eventually(t, "all subscribed", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
			publish(t, p, o, "1")
		}
		eventually(t, "a message each", func() bool { return len(box.from(delivery.FromPush)) == owners })
		inject(t, p, fdstest.LoseSessions())
		eventually(t, "all gaps closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == owners })
		mu.Lock()
		t.Logf("%d requests, %d at once", total, top)
		if top > most || top < 2 || total != 2*owners {
			t.Errorf("%d requests, %d at once; want %d, and at most %d at once", total, top, 2*owners, most)
		}
		mu.Unlock()
		eventually(t, "no backfill's goroutine left", func() bool { return goroutinesIn("(*workers).work") == 0 })
	})
}

// goroutinesIn returns how many goroutines are at work in a function, by the end of its name.
func goroutinesIn(function string) int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), function+"(")
}
