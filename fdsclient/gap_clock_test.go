package fdsclient_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestNoEventIsMissingWhenTheProvidersClockIsOffOrIsSet(t *testing.T) {
	const off = 10 * time.Minute
	for name, clock := range map[string]struct {
		first, then time.Duration
		restart     bool // this process ends in between
	}{
		"behind":                          {-off, -off, false},
		"ahead":                           {off, off, false},
		"was behind, and is right":        {-off, 0, false},
		"was ahead, and is right":         {off, 0, false},
		"was ahead, and is behind":        {off, -off, false},
		"was right, and is behind":        {0, -off, false},
		"was ahead, is right in new run":  {off, 0, true},
		"was behind, is right in new run": {-off, 0, true},
		"was right, is behind in new run": {0, -off, true},
		"is ahead in both runs":           {off, off, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				var ahead atomic.Int64
				inject(t, p, fdstest.RewriteAnswer(fdstest.APIEndpoint, func(r *fdstest.Reply) {
					r.Header.Set("Date", time.Now().Add(time.Duration(ahead.Load())).UTC().Format(http.TimeFormat))
				}))
				cfg := configure(t, p)
				cfg.Provider.Dialect = fds.Dialect{TimeMember: boxDialect.TimeMember, SubscriptionMember: boxDialect.SubscriptionMember} // so that what is fetched is chosen here
				cfg.Gaps.Margin = 2 * time.Second
				cfg.Gaps.Retry.Initial = 20 * time.Millisecond
				gaps := &gapLog{}
				cfg.Hooks = []any{gaps}
				client := open(t, cfg)
				signIn(t, client, p)
				o := p.Owners()[0]
				e := &events{t: t, dialect: cfg.Provider.Dialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
				set := func(to time.Duration) {
					e.ahead = to
					ahead.Store(int64(to))
				}
				var box inbox
				closed := 0
				outage := func() {
					t.Helper()
					connects := p.Subscriber(o).Connects
					heal := inject(t, p, fdstest.RefuseConnections(o))
					inject(t, p, fdstest.LoseSessions(o))
					e.publish(5)
					heal()
					eventually(t, "connected again", func() bool { s := p.Subscriber(o); return s.Connects > connects && len(s.Subscriptions) > 0 })
					closed++
					eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == closed })
					if missing := e.missing(&box); len(missing) > 0 {
						t.Fatalf("missing after outage %d: %v", closed, missing)
					}
				}

				set(clock.first)
				stop := runClient(t, client, box.handle)
				subscribed(t, p, o)
				e.publish(1)
				e.arrive(&box)
				outage()
				e.publish(2)
				e.arrive(&box)
				if !clock.restart {
					set(clock.then)
					outage()
					e.publish(2)
					e.arrive(&box)
					outage()
					return
				}
				stop()
				set(clock.then)
				inject(t, p, fdstest.LoseSessions(o))
				e.publish(5)
				runClient(t, open(t, cfg), box.handle)
				e.arrive(&box)
			})
		})
	}
}
