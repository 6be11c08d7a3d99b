package following

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// polledAPI is a Web API that is polled: its lists, with entity tags.
type polledAPI struct {
	mu               sync.Mutex
	events, statuses []string
	from             bool          // it knows the parameter "from"
	fails            int           // so many requests are answered 503
	ahead            time.Duration // its clock
	noDate           bool          // it does not tell its time
	noEvents         bool          // it answers 204 for them
	requests         []string
	unchanged        int
}

func (a *polledAPI) change(how func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	how()
}

func (a *polledAPI) event(id string, at time.Time) {
	a.change(func() {
		a.events = append(a.events, fmt.Sprintf(`{"message_id":%q,"generic":{"date_time":%q}}`, id, at.UTC().Format(time.RFC3339Nano)))
	})
}

func (a *polledAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, path.Base(r.URL.Path)+"?"+r.URL.RawQuery)
	status, body := http.StatusOK, ""
	switch {
	case a.fails > 0:
		a.fails--
		status = http.StatusServiceUnavailable
	case a.noEvents && path.Base(r.URL.Path) == "events":
		status = http.StatusNoContent
	case r.URL.RawQuery != "" && !a.from:
		status, body = http.StatusBadRequest, `{"status":400,"message":"invalid_parameter"}`
	case path.Base(r.URL.Path) == "statuses":
		body = "[" + strings.Join(a.statuses, ",") + "]"
	default:
		from, _ := time.Parse(time.RFC3339, r.URL.Query().Get("from"))
		var list []string
		for _, e := range a.events {
			_, date, _ := strings.Cut(e, `"date_time":"`)
			at, err := time.Parse(time.RFC3339, strings.TrimSuffix(date, `"}}`))
			if err != nil || !at.Before(from) {
				list = append(list, e)
			}
		}
		body = "[" + strings.Join(list, ",") + "]"
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(body)))
	if status == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		status, body = http.StatusNotModified, ""
		a.unchanged++
	}
	header := http.Header{"Content-Type": {"application/json"}, "Etag": {tag}}
	if !a.noDate {
		header.Set("Date", time.Now().Add(a.ahead).UTC().Format(http.TimeFormat))
	}
	return &http.Response{StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(body)), Header: header}, nil
}

// polled makes the followers of a Client that polls each minute.
func polled(t *testing.T, change func(*config)) *fixture {
	t.Helper()
	return pushing(t, func(cfg *config) {
		cfg.Poll.Interval = time.Minute
		cfg.Dialect = fds.Dialect{FromParameter: "from", TimeMember: "generic.date_time"}
		if change != nil {
			change(cfg)
		}
	})
}

// poller has an owner polled until its Stop is called.
func poller(t *testing.T, a *fixture, id fds.SubscriptionID, api http.RoundTripper, h delivery.Handler) (f *Follower) {
	t.Helper()
	f = a.follow(t, a.owner(t, id, api), h)
	f.Poll()
	return f
}

// had is a handler that keeps what it had.
type had struct {
	mu   sync.Mutex
	list []string
	fail func(payload string) error
}

func (h *had) handle(_ context.Context, m delivery.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		if err := h.fail(string(m.Payload)); err != nil {
			return err
		}
	}
	if m.Source != delivery.FromPoll || m.Kind == "" || m.Topic != "" || m.QoS != 0 {
		return fmt.Errorf("a message that no poll gives: %+v", m)
	}
	item, err := m.Item()
	if err != nil {
		return err
	}
	name := textMember(item, "message_id")
	if m.Kind == delivery.KindStatus {
		name = string(m.Payload)
	}
	h.list = append(h.list, name)
	return nil
}

func (h *had) take() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, h.list = h.list, nil
	return list
}

func expect(t *testing.T, h *had, want ...string) {
	t.Helper()
	if got := h.take(); !slices.Equal(got, want) {
		t.Errorf("handed over: %q, want %q", got, want)
	}
}

func TestPollingNeitherMissesNorRepeatsAcrossRestarts(t *testing.T) {
	for name, from := range map[string]bool{"a provider that knows the parameter": true, "one that refuses it": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, api, h, id := polled(t, nil), &polledAPI{from: from}, new(had), fds.NewSubscriptionID()
				api.event("before", time.Now().Add(-time.Hour))
				api.event("just before", time.Now().Add(-time.Second))
				api.change(func() { api.statuses = []string{`{"device_id":"a","n":1}`, `{"device_id":"b","n":1}`} })
				f := poller(t, all, id, api, h.handle)
				synctest.Wait()
				expect(t, h, `{"device_id":"a","n":1}`, `{"device_id":"b","n":1}`)
				n := 0
				for round := range 6 {
					for range 3 {
						n++
						api.event(fmt.Sprint("event ", n), time.Now().Add(-time.Minute)) // dated before the last read
						time.Sleep(7 * time.Second)
					}
					if round%2 == 1 { // what comes while nobody runs is not missed
						f.Stop()
						n++
						api.event(fmt.Sprint("event ", n), time.Now())
						time.Sleep(time.Hour)
						n++
						api.event(fmt.Sprint("event ", n), time.Now())
						f = poller(t, all, id, api, h.handle)
					}
					time.Sleep(2 * time.Minute)
				}
				f.Stop()
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint("event ", i+1))
				}
				expect(t, h, want...)
			})
		})
	}
}

func TestAStatusIsNewWhenItIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), new(polledAPI), new(had)
		a, b, c := `{"device_id":"a","n":1}`, `{"device_id":"a","n":2}`, `{"device_id":"c","n":1}`
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		for _, step := range []struct{ list, want []string }{
			{[]string{a}, []string{a}},
			{[]string{a}, nil},
			{[]string{c, a}, []string{c}},
			{[]string{c, b}, []string{b}},
			{[]string{c, a}, []string{a}}, // as it was before
			{[]string{a, c, a}, nil},
		} {
			api.change(func() { api.statuses = step.list })
			time.Sleep(90 * time.Second)
			expect(t, h, step.want...)
		}
	})
}

func TestAPollOfWhatIsUnchangedCostsAnAnswerWithoutContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		api.event("one", time.Now())
		pass(10 * time.Minute)
		api.change(func() { api.unchanged, api.requests = 0, nil })
		pass(10 * time.Minute)
		api.mu.Lock()
		defer api.mu.Unlock()
		if api.unchanged < 16 || api.unchanged != len(api.requests) {
			t.Errorf("%d of %d requests cost nothing", api.unchanged, len(api.requests))
		}
	})
}

func TestWhatTheHandlerFailsOnIsPolledAgainAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, failing := new(had), true
		h.fail = func(payload string) error {
			if failing && strings.Contains(payload, "poison") {
				return errors.New("no")
			}
			return nil
		}
		all, api, id := polled(t, nil), &polledAPI{from: true}, fds.NewSubscriptionID()
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		api.event("first", time.Now())
		api.event("poison", time.Now())
		api.event("last", time.Now())
		pass(10 * time.Minute)
		expect(t, h, "first")
		f.Stop() // in the middle of a list: what was handed over is stored
		f = poller(t, all, id, api, h.handle)
		pass(time.Minute)
		expect(t, h)
		h.mu.Lock()
		failing = false
		h.mu.Unlock()
		pass(10 * time.Minute)
		f.Stop()
		expect(t, h, "poison", "last")
	})
}

func TestADeadLetterEndsWhatIsPolledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead []string
		h := new(had)
		h.fail = func(payload string) error {
			if strings.Contains(payload, "poison") {
				panic("no")
			}
			return nil
		}
		all := polled(t, func(cfg *config) {
			cfg.MaxAttempts = 3
			cfg.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
				dead = append(dead, string(m.Payload))
				return nil
			}
		})
		api := &polledAPI{from: true}
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		synctest.Wait()
		api.event("poison", time.Now())
		api.event("last", time.Now())
		pass(30 * time.Minute)
		f.Stop()
		expect(t, h, "last")
		if len(dead) != 1 {
			t.Errorf("dead letters: %q", dead)
		}
	})
}

// polls is told of reads.
type polls struct {
	mu  sync.Mutex
	all []PollEvent
}

func (p *polls) on(cfg *config) { cfg.OnPoll = p.OnPoll }

func (p *polls) OnPoll(e PollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, e)
}

func TestAProviderThatFailsIsPolledMoreAndMoreSeldomAndNothingIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := new(polls)
		all, api, h := polled(t, func(cfg *config) { hook.on(cfg) }), &polledAPI{from: true}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		synctest.Wait()
		api.change(func() { api.fails = 20 })
		pass(time.Second)
		api.event("missed meanwhile", time.Now())
		pass(6 * time.Hour)
		expect(t, h, "missed meanwhile")
		hook.mu.Lock()
		defer hook.mu.Unlock()
		failed := 0
		for _, e := range hook.all {
			if e.Err != nil {
				failed++
				if !errors.Is(e.Err, fds.ErrUnavailable) || !e.NextAt.After(time.Now().Add(-6*time.Hour)) {
					t.Errorf("told %+v", e)
				}
			}
		}
		if failed != 20 {
			t.Errorf("%d reads failed, want 20", failed)
		}
	})
}

func TestAttackAnItemThatNamesAnotherOwnerIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := polled(t, func(cfg *config) { cfg.Dialect.SubscriptionMember = "owner.id" })
		api, h, id := new(polledAPI), new(had), fds.NewSubscriptionID()
		mine, shared := fmt.Sprintf(`{"owner":{"id":%q}}`, strings.ToUpper(id.String())), `{"device_id":"a"}`
		api.statuses = []string{fmt.Sprintf(`{"owner":{"id":%q}}`, fds.NewSubscriptionID()), mine, shared}
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		f.Stop()
		expect(t, h, mine, shared)
	})
}

func TestAListTooLongToRememberIsAnErrorUnlessItIsDated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := new(polls)
		all := polled(t, func(cfg *config) { hook.on(cfg); cfg.Dialect.FromParameter = "" })
		api, h, id := new(polledAPI), new(had), fds.NewSubscriptionID()
		old := time.Now().Add(-24 * time.Hour)
		for i := range maxSeen + 10 {
			api.event(fmt.Sprint("old ", i), old)
		}
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		api.event("new", time.Now())
		pass(2 * time.Minute)
		f.Stop()
		f = poller(t, all, id, api, h.handle)
		pass(2 * time.Minute)
		expect(t, h, "new")
		state := all.state(t, f.owner.Key)
		if len(state.Polled.Events.Seen) > 100*digestBytes || !state.Polled.Events.Part {
			t.Errorf("%d bytes of digests are stored", len(state.Polled.Events.Seen))
		}
		f.Stop()
		api.change(func() {
			for i := range maxSeen + 1 {
				api.statuses = append(api.statuses, fmt.Sprintf(`{"n":%d}`, i))
			}
		})
		f = poller(t, all, id, api, func(context.Context, delivery.Message) error { return nil })
		pass(2 * time.Minute)
		f.Stop()
		hook.mu.Lock()
		defer hook.mu.Unlock()
		if err := hook.all[len(hook.all)-1].Err; !errors.Is(err, fds.ErrConfig) {
			t.Errorf("too many statuses: %v", err)
		}
	})
}

func TestManyPolledOwnersCostNoGoroutineBetweenReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 10_000
		all, api := polled(t, nil), &polledAPI{from: true, statuses: []string{`{"device_id":"a"}`}}
		before := runtime.NumGoroutine()
		counts := make(chan fds.OwnerKey, owners*2)
		var fleet []*Follower
		for range owners {
			fleet = append(fleet, poller(t, all, fds.NewSubscriptionID(), api, func(_ context.Context, m delivery.Message) error { counts <- m.Owner; return nil }))
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 5 {
			t.Errorf("%d goroutines more between the reads of %d owners", n, owners)
		}
		pass(5 * time.Minute)
		for _, f := range fleet {
			f.Stop()
		}
		if len(counts) != owners {
			t.Errorf("%d statuses were handed over, want one for each of %d owners", len(counts), owners)
		}
	})
}

func TestAProvidersClockThatIsSetBackHidesNoEventFromPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true, ahead: 3 * time.Hour}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		synctest.Wait()
		api.event("before", time.Now().Add(3*time.Hour))
		pass(5 * time.Minute)
		expect(t, h, "before")
		api.change(func() { api.ahead = 0 })
		api.event("after", time.Now())
		pass(5 * time.Minute)
		expect(t, h, "after")
	})
}

func TestAnOwnerWhomAProviderPushedToIsPolledFromThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h, id := polled(t, nil), &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		key := fds.OwnerKey{Issuer: issuer, SubscriptionID: id}
		api.event("long before", time.Now().Add(-time.Hour))
		api.event("missed", time.Now().Add(-time.Minute))
		all.put(t, key, record{Filters: []string{"fds/v2/x/#"}, Position: time.Now().Add(-2 * time.Minute)})
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		f.Stop()
		expect(t, h, "missed")
		if back := all.follow(t, f.owner, h.handle); back.position.newcomer || back.position.at.IsZero() {
			t.Error("a broker that the provider gets is taken for the first, and what was published since the last poll is lost")
		}
	})
}

func TestReadsAtOnceThatComeDuringAReadMakeNoMoreOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &webAPI{takes: time.Second, answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) { return 200, "[]" }}
		var reads atomic.Int64
		all := polled(t, func(cfg *config) { cfg.OnPoll = func(PollEvent) { reads.Add(1) } })
		id := fds.NewSubscriptionID()
		f := poller(t, all, id, api.of(fds.OwnerKey{Issuer: issuer, SubscriptionID: id}), new(had).handle)
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			f.ReadNow()
			time.Sleep(4 * time.Second)
		}
		pass(5 * time.Minute)
		reads.Store(0)
		pass(time.Hour)
		f.Stop()
		pass(time.Minute) // for an answer on its way
		if n := reads.Load(); n > 70 {
			t.Errorf("%d reads in an hour", n)
		}
	})
}
