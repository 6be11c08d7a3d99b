package fdsclient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// boxDialect names what the provider in a box has.
var boxDialect = fds.Dialect{FromParameter: "from", ToParameter: "to", TimeMember: "generic.date_time", SubscriptionMember: "subscription_id"}

// gapLog is a hook that keeps what happens to gaps.
type gapLog struct {
	mu     sync.Mutex
	events []fdsclient.GapEvent
}

func (l *gapLog) OnGap(e fdsclient.GapEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *gapLog) all(change fdsclient.GapChange) (found []fdsclient.GapEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Change == change {
			found = append(found, e)
		}
	}
	return found
}

// events publishes events as a provider does, and keeps what it published.
type events struct {
	t       *testing.T
	dialect fds.Dialect
	send    func(payload []byte) error
	ids     []string
	ahead   time.Duration // of the provider's clock
}

func (e *events) publish(n int) {
	e.t.Helper()
	for range n {
		id := fmt.Sprintf("event-%d-%d", len(e.ids), rand.Uint64())
		e.ids = append(e.ids, id)
		at := time.Now().Add(e.ahead).UTC()
		layout := e.dialect.TimeLayout
		if layout == "" {
			layout = "2006-01-02T15:04:05.000Z07:00"
		}
		member := e.dialect.WithDefaults().MessageID
		item := fmt.Sprintf(`{%q:%q,"generic":{"device_id":"D","n":%d}}`, member, id, len(e.ids))
		if e.dialect.TimeMember != "" {
			path := strings.Split(e.dialect.TimeMember, ".")
			if len(path) == 2 {
				item = fmt.Sprintf(`{%q:%q,%q:{"device_id":"D",%q:%q}}`, member, id, path[0], path[1], at.Format(layout))
			} else {
				item = fmt.Sprintf(`{%q:%q,%q:%q,"generic":{"device_id":"D"}}`, member, id, path[0], at.Format(layout))
			}
		}
		if err := e.send([]byte(item)); err != nil {
			e.t.Fatal(err)
		}
	}
}

// missing returns the events that the handler never had.
func (e *events) missing(b *inbox) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all strings.Builder
	for _, m := range b.messages {
		all.Write(m.Payload)
	}
	for _, id := range e.ids {
		if !strings.Contains(all.String(), `"`+id+`"`) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *events) arrive(b *inbox) {
	e.t.Helper()
	eventually(e.t, "no event missing", func() bool { return len(e.missing(b)) == 0 })
}

func (b *inbox) from(source delivery.Source) (found []delivery.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if m.Source == source {
			found = append(found, m)
		}
	}
	return found
}

// randomDialect draws every name that FDS leaves open.
func randomDialect() (fds.Dialect, *fdstest.TimeRange) {
	name := func() string {
		letters := []byte("abcdefghijklmnopqrstuvwxyz")
		rand.Shuffle(len(letters), func(i, j int) { letters[i], letters[j] = letters[j], letters[i] })
		return string(letters[:6+rand.IntN(6)])
	}
	d := fds.Dialect{MessageID: name(), TimeMember: name(), FromParameter: name(), ToParameter: name()}
	d.TimeLayout = []string{time.RFC3339, "2006-01-02T15:04:05.000Z07:00", time.DateTime, "20060102150405"}[rand.IntN(4)]
	if rand.IntN(2) == 0 {
		d.TimeMember = "generic." + d.TimeMember
	}
	return d, &fdstest.TimeRange{From: d.FromParameter, To: d.ToParameter, Layout: d.TimeLayout}
}

func TestNoEventIsMissingAfterAnyOutageInTheBox(t *testing.T) {
	for name, dialect := range map[string]func() (fds.Dialect, *fdstest.TimeRange){
		"names drawn at random": randomDialect,
		"no name known":         func() (fds.Dialect, *fdstest.TimeRange) { return fds.Dialect{}, &fdstest.TimeRange{} },
		"the wrong names":       func() (fds.Dialect, *fdstest.TimeRange) { d, _ := randomDialect(); return d, &fdstest.TimeRange{} },
	} {
		for outage, during := range map[string]func(t *testing.T, p *fdstest.Provider, o fdstest.Owner, e *events){
			"connections dropped": func(t *testing.T, p *fdstest.Provider, o fdstest.Owner, e *events) {
				inject(t, p, fdstest.DropConnections(o))
				e.publish(20)
			},
			"the session lost": func(t *testing.T, p *fdstest.Provider, o fdstest.Owner, e *events) {
				off := inject(t, p, fdstest.RefuseConnections(o))
				inject(t, p, fdstest.LoseSessions(o))
				e.publish(20)
				off()
			},
			"the queue's limit hit though the session is present": func(t *testing.T, p *fdstest.Provider, o fdstest.Owner, e *events) {
				inject(t, p, fdstest.SmallQueue(3, o))
				off := inject(t, p, fdstest.RefuseConnections(o))
				inject(t, p, fdstest.DropConnections(o))
				eventually(t, "disconnected", func() bool { return !p.Subscriber(o).Connected })
				e.publish(20)
				if p.Subscriber(o).Dropped == 0 || !p.Subscriber(o).Session {
					t.Errorf("nothing was dropped: %+v", p.Subscriber(o))
				}
				off()
			},
			"shut down": func(t *testing.T, p *fdstest.Provider, o fdstest.Owner, e *events) {
				inject(t, p, fdstest.Disconnect(0x8B, "", "", o))
				e.publish(20)
			},
		} {
			t.Run(name+", "+outage, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					d, span := dialect()
					p := start(t, fdstest.Options{TimeRange: span})
					cfg := configure(t, p)
					cfg.Provider.Dialect = d
					gaps := &gapLog{}
					cfg.Hooks = []any{gaps}
					client := open(t, cfg)
					signIn(t, client, p)
					o := p.Owners()[0]
					var box inbox
					runClient(t, client, box.handle)
					subscribed(t, p, o)
					e := &events{t: t, dialect: d, send: func(item []byte) error { return p.AddEvent(o, item) }}
					e.publish(3)
					e.arrive(&box)
					if n := len(gaps.all(fdsclient.GapOpened)); n != 0 {
						t.Errorf("%d gaps before any outage", n)
					}
					during(t, p, o, e)
					eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) > 0 })
					e.publish(3)
					e.arrive(&box)
					opened, closed := gaps.all(fdsclient.GapOpened)[0], gaps.all(fdsclient.GapClosed)[0]
					if opened.Gap.From.IsZero() || !opened.Gap.From.Before(opened.Gap.Since) || opened.Gap.Reason == "" || closed.Gap.To.Before(closed.Gap.Since.Truncate(time.Second)) {
						t.Errorf("opened %+v, closed %+v", opened, closed)
					}
					for _, m := range box.from(delivery.FromBackfill) {
						if m.Kind != delivery.KindEvent || m.Topic != "" || m.Levels != nil || m.QoS != 0 || m.Owner != opened.Owner {
							t.Errorf("a backfilled message is %+v", m)
						}
					}
					if state, err := remembered(t, cfg, opened.Owner); err != nil || state.Gap != nil {
						t.Errorf("stored %+v, %v; the gap is closed", state, err)
					}
				})
			})
		}
	}
}

func TestAProcessThatWasAwayFetchesWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		folder, err := statestore.OpenFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		cfg.State = folder
		client := open(t, cfg)
		signIn(t, client, p)
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		stop := runClient(t, client, box.handle)
		subscribed(t, p, o)
		e.publish(2)
		e.arrive(&box)
		stop()
		inject(t, p, fdstest.LoseSessions(o))
		e.publish(5)
		if n := len(e.missing(&box)); n != 5 {
			t.Fatalf("%d are missing before the next run, want 5", n)
		}
		runClient(t, open(t, cfg), box.handle)
		e.arrive(&box)
	})
}

func TestAttackWhatAnIntruderCausedToBeMissedIsFetchedByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		client := open(t, cfg)
		owner := signIn(t, client, p)[0]
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		stop := runClient(t, client, box.handle)
		subscribed(t, p, o)
		e.publish(2)
		e.arrive(&box)
		inject(t, p, fdstest.Disconnect(0x8E, "", "", o))
		eventually(t, "taken over", func() bool { return owner.Connection().Phase == push.TakenOver })
		inject(t, p, fdstest.LoseSessions(o)) // the intruder had it, and received
		e.publish(5)
		stop()
		runClient(t, open(t, cfg), box.handle)
		e.arrive(&box)
	})
}

func TestLiveMessagesWaitForTheBackfillButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		cfg.Gaps.Wait = 500 * time.Millisecond
		cfg.Gaps.Retry.Initial = 50 * time.Millisecond
		cfg.Gaps.Retry.Max = 100 * time.Millisecond
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		key := signIn(t, client, p)[0].Key()
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		stop := runClient(t, client, box.handle)
		subscribed(t, p, o)
		stop()
		inject(t, p, fdstest.LoseSessions(o))
		e.publish(5)
		heal := inject(t, p, fdstest.Answer(fdstest.APIEndpoint, 503, "application/json", `{"status":503,"message":"down"}`))
		runClient(t, open(t, cfg), box.handle)
		eventually(t, "subscribed again", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 && p.Subscriber(o).Connected })
		publish(t, p, o, `"live"`)
		eventually(t, "the live message", func() bool { return box.payloads(key.SubscriptionID) == `"live"` })
		opened := gaps.all(fdsclient.GapOpened)[0]
		if waited := time.Since(opened.Gap.Since); waited < 500*time.Millisecond {
			t.Errorf("it flowed after %v", waited)
		}
		eventually(t, "failures told", func() bool { return len(gaps.all(fdsclient.GapFailing)) > 2 })
		if f := gaps.all(fdsclient.GapFailing)[0]; f.Err == nil || f.RetryAt.IsZero() {
			t.Errorf("failing %+v", f)
		}
		if state, err := remembered(t, cfg, key); err != nil || state.Gap == nil {
			t.Errorf("the open gap is stored as %+v, %v", state, err)
		}
		heal()
		e.arrive(&box)
		eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == 1 })
	})
}

func TestABackfillWaitsAsLongAsTheProviderAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		signIn(t, client, p)
		o := p.Owners()[0]
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, o)
		inject(t, p, fdstest.TooManyRequests(fdstest.APIEndpoint, "3600"))
		inject(t, p, fdstest.DropConnections(o))
		inject(t, p, fdstest.LoseSessions(o))
		eventually(t, "a failure told", func() bool { return len(gaps.all(fdsclient.GapFailing)) > 0 })
		if f := gaps.all(fdsclient.GapFailing)[0]; !errors.Is(f.Err, fds.ErrRateLimited) || time.Until(f.RetryAt) < 59*time.Minute {
			t.Errorf("tried again in %v after %v", time.Until(f.RetryAt), f.Err)
		}
	})
}

func TestAnOwnerWithoutAWebAPIIsNotHeldUpAndItsGapsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.APIURL = ""
		cfg.Gaps.Wait = time.Hour
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		key := signIn(t, client, p)[0].Key()
		o := p.Owners()[0]
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, o)
		inject(t, p, fdstest.DropConnections(o))
		publish(t, p, o, `1`)
		eventually(t, "the message", func() bool { return box.payloads(key.SubscriptionID) == "1" })
		f := gaps.all(fdsclient.GapFailing)
		if len(f) != 1 || !errors.Is(f[0].Err, fds.ErrConfig) || !f[0].RetryAt.IsZero() {
			t.Errorf("told %+v", f)
		}
		if state, err := remembered(t, cfg, key); err != nil || state.Gap == nil {
			t.Errorf("stored %+v, %v", state, err)
		}
	})
}

func TestAPositionIsNeverAheadOfAnAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		client := open(t, cfg)
		key := signIn(t, client, p)[0].Key()
		o := p.Owners()[0]
		begun, resume := make(chan time.Time, 10), make(chan struct{})
		stop := runClient(t, client, func(_ context.Context, m delivery.Message) error {
			begun <- m.ReceivedAt
			<-resume
			return nil
		})
		subscribed(t, p, o)
		load := func() time.Time {
			state, err := remembered(t, cfg, key)
			if err != nil {
				t.Fatal(err)
			}
			return state.Position
		}
		first := load()
		publish(t, p, o, `1`)
		publish(t, p, o, `2`) // it arrives while the first is at work
		one := <-begun
		eventually(t, "both sent", func() bool { return p.Subscriber(o).Sent == 2 })
		if got := load(); !got.Equal(first) {
			t.Errorf("the position has moved to %v before anything was acknowledged", got)
		}
		resume <- struct{}{}
		<-begun
		// To the nanosecond the wall clock and the one that only goes on differ.
		isOne := func(at time.Time) bool { return at.Sub(one).Abs() < time.Millisecond }
		eventually(t, "the position stored", func() bool { return isOne(load()) })
		resume <- struct{}{}
		eventually(t, "both acknowledged", func() bool { return p.Subscriber(o).Acknowledged == 2 })
		publish(t, p, o, `3`) // for all that is known, it was queued behind the others
		<-begun
		resume <- struct{}{}
		eventually(t, "all acknowledged", func() bool { return p.Subscriber(o).Acknowledged == 3 })
		stop()
		if got := load(); !isOne(got) {
			t.Errorf("at the end the position is %v, want the arrival of the first message %v", got, one)
		}
	})
}

func TestWhatIsFetchedAndKnownIsLeftOutAndAChangedStatusIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, drop := range []bool{false, true} {
			p := start(t, fdstest.Options{})
			cfg := configure(t, p)
			cfg.Provider.Dialect = boxDialect
			cfg.Gaps.DropDuplicates = drop
			gaps := &gapLog{}
			cfg.Hooks = []any{gaps}
			client := open(t, cfg)
			signIn(t, client, p)
			o := p.Owners()[0]
			var box inbox
			runClient(t, client, box.handle)
			subscribed(t, p, o)
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			status := func(device, level string) {
				must(p.SetStatus(o, []byte(fmt.Sprintf(`{"device_id":%q,"generic":{"date_time":%q,"level":%q}}`, device, time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), level))))
			}
			for _, device := range []string{"A", "B"} {
				must(p.AddDevice(o, []byte(`{"device_id":"`+device+`","generic":{}}`)))
				status(device, "full")
			}
			must(p.AddEvent(o, []byte(fmt.Sprintf(`{"message_id":"seen","generic":{"date_time":%q,"device_id":"A"}}`, time.Now().UTC().Format(time.RFC3339)))))
			eventually(t, "three messages", func() bool { return len(box.from(delivery.FromPush)) == 3 })
			off := inject(t, p, fdstest.RefuseConnections(o))
			inject(t, p, fdstest.LoseSessions(o))
			status("B", "empty")
			must(p.AddEvent(o, []byte(fmt.Sprintf(`{"message_id":"missed","generic":{"date_time":%q,"device_id":"A"}}`, time.Now().UTC().Format(time.RFC3339)))))
			off()
			eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == 1 })
			var got []string
			for _, m := range box.from(delivery.FromBackfill) {
				for _, what := range []string{`"seen"`, `"missed"`, `"full"`, `"empty"`} {
					if strings.Contains(string(m.Payload), what) {
						got = append(got, fmt.Sprintf("%s %s %v", m.Kind, what, m.Duplicate))
					}
				}
			}
			want := []string{`event "missed" false`, `status "empty" false`}
			if !slices.Equal(got, want) {
				t.Errorf("drop %v: got %q, want %q", drop, got, want)
			}
		}
	})
}

func TestAHandlerThatFailsOnABackfilledMessageGetsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		cfg.Gaps.Retry.Initial, cfg.Gaps.Retry.Max = 20*time.Millisecond, 50*time.Millisecond
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		signIn(t, client, p)
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		failures := 0
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			if m.Source == delivery.FromBackfill && strings.Contains(string(m.Payload), "event-2-") {
				if failures++; failures == 1 {
					return errors.New("not now")
				} else if failures == 2 {
					panic("nor now")
				}
			}
			return box.handle(ctx, m)
		})
		subscribed(t, p, o)
		off := inject(t, p, fdstest.RefuseConnections(o))
		inject(t, p, fdstest.LoseSessions(o))
		e.publish(5)
		off()
		e.arrive(&box)
		eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == 1 })
		if n := len(box.from(delivery.FromBackfill)); n != 5 || len(gaps.all(fdsclient.GapFailing)) != 2 {
			t.Errorf("%d were handed over with success, %d attempts failed; want each of 5 once, and 2", n, len(gaps.all(fdsclient.GapFailing)))
		}
	})
}

func inject(t *testing.T, p *fdstest.Provider, f fdstest.Fault) (off func()) {
	t.Helper()
	return p.Inject(f)
}
