package fdsclient

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// webAPI is a Web API without a network: what it answers to an owner's request for
// a collection. Its own time is ahead by so much; noDate: it does not tell it.
type webAPI struct {
	mu     sync.Mutex // held over answer
	answer func(owner fds.OwnerKey, kind pull.Kind, r *http.Request) (status int, list string)
	ahead  time.Duration
	noDate bool
	takes  time.Duration // an answer on its way
}

// of is the way of one owner to it.
func (a *webAPI) of(owner fds.OwnerKey) http.RoundTripper { return &apiOf{a, owner} }

// change changes what it answers.
func (a *webAPI) change(how func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	how()
}

type apiOf struct {
	api   *webAPI
	owner fds.OwnerKey
}

func (a *apiOf) RoundTrip(r *http.Request) (*http.Response, error) {
	defer func() { time.Sleep(a.api.takes) }()
	a.api.mu.Lock()
	defer a.api.mu.Unlock()
	status, list := a.api.answer(a.owner, pull.Kind(path.Base(r.URL.Path)), r)
	response := &http.Response{
		StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(list)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}
	if !a.api.noDate {
		response.Header.Set("Date", time.Now().Add(a.api.ahead).UTC().Format(http.TimeFormat))
	}
	return response, nil
}

// withoutStatuses has these events, and while it is down no statuses.
func withoutStatuses(down *bool, events *[]string) *webAPI {
	return &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
		switch {
		case kind == pull.Events:
			return 200, "[" + strings.Join(*events, ",") + "]"
		case *down:
			return 500, ""
		}
		return 200, "[]"
	}}
}

// anyone needs no token.
type anyone struct{}

func (anyone) Authorize(context.Context, *http.Request) error                     { return nil }
func (anyone) Challenged(context.Context, *http.Response) (retry bool, err error) { return false, nil }

// gapClient makes a Client with no provider behind it but a webAPI.
func gapClient(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	const issuer = "https://auth.example"
	cfg := Config{
		Provider: Provider{
			Issuer: issuer, APIURL: "https://api.example", BrokerURL: "mqtts://broker.example",
			Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"},
		},
		Application: Application{ClientID: "app"},
		Store:       tokenstore.OpenMemory(),
		State:       &MemoryState{},
		Logger:      slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// followed gives an owner whose messages up to now were handled, as a run follows
// it.
func followed(t *testing.T, c *Client, api *webAPI, h delivery.Handler) *follower {
	t.Helper()
	id := fds.NewSubscriptionID()
	o := &Owner{client: c, key: fds.OwnerKey{Issuer: c.cfg.Provider.Issuer, SubscriptionID: id}, root: id.Root()}
	o.pulls.Do(func() {
		var err error
		if o.pullOnes, err = pull.New(pull.Config{BaseURL: c.cfg.Provider.APIURL, Authorizer: anyone{}, Transport: api.of(o.key), Dialect: c.cfg.Provider.Dialect, RetryFor: -1, Logger: c.log}); err != nil {
			t.Fatal(err)
		}
	})
	if err := c.state.Save(t.Context(), o.key, OwnerState{Filters: []string{o.root.String() + "#"}, Position: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return c.follow(t.Context(), o, h)
}

// newcomer gives an owner who was never subscribed, as a run follows it.
func newcomer(t *testing.T, c *Client, api *webAPI, h delivery.Handler) *follower {
	t.Helper()
	f := followed(t, c, api, h)
	f.stop()
	if err := c.state.Delete(t.Context(), f.owner.key); err != nil {
		t.Fatal(err)
	}
	return c.follow(t.Context(), f.owner, h)
}

// outage is what follows one: the owner is subscribed again.
func outage(t *testing.T, f *follower) (filled <-chan struct{}) {
	t.Helper()
	filled, err := f.openGap(t.Context(), "a test")
	if err != nil {
		t.Fatal(err)
	}
	return filled
}

// open says whether the gap is.
func (f *follower) open() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gap.open != nil
}

// state is what a next process would find.
func (f *follower) state(t *testing.T) OwnerState {
	t.Helper()
	state, err := f.client.state.Load(t.Context(), f.owner.key)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// dated is an event or a status of a device.
func dated(id string, at time.Time) string {
	return fmt.Sprintf(`{"message_id":%q,"device_id":%q,"generic":{"date_time":%q}}`, id, id, at.UTC().Format(time.RFC3339Nano))
}

// byDate is a dialect in which items are dated.
var byDate = fds.Dialect{FromParameter: "from", ToParameter: "to", TimeMember: "generic.date_time"}

// handled keeps what the handler had.
type handled struct {
	mu       sync.Mutex
	messages []delivery.Message
}

func (h *handled) handle(_ context.Context, m delivery.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, m)
	return nil
}

// has says how often the handler had what holds the text.
func (h *handled) has(text string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.messages {
		if strings.Contains(string(m.Payload), text) {
			n++
		}
	}
	return n
}

// The gap ends at the first answer's time, so what an attempt hours later has
// fetched reaches no farther: the connection may be gone again, or the handler
// behind.
func TestALateAttemptMovesThePositionNoFartherThanItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(c *Config) { c.Provider.Dialect = byDate })
		down := true
		var events []string
		api := withoutStatuses(&down, &events)
		var got handled
		f := followed(t, client, api, got.handle)
		defer f.stop()
		time.Sleep(time.Hour)
		outage(t, f)
		synctest.Wait()
		time.Sleep(5 * time.Minute)

		// The connection is lost once more, and an event with it.
		api.change(func() { events = append(events, dated("missed", time.Now())) })
		time.Sleep(30 * time.Minute)
		api.change(func() { down = false })
		time.Sleep(10 * time.Minute)
		if f.open() {
			t.Fatal("the first gap is not closed")
		}
		if got.has("missed") > 0 {
			t.Fatal("the first gap holds what was published after it")
		}
		<-outage(t, f)
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

// slowState is a store that takes its time for some states, and obeys its context.
type slowState struct {
	MemoryState
	slow func(OwnerState) time.Duration
}

func (s *slowState) Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error {
	select {
	case <-time.After(s.slow(state)):
		return s.MemoryState.Save(ctx, owner, state)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAnAttemptThatBeginsWhileAnotherOutageIsStoredDoesNotCloseItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(c *Config) {
			c.Provider.Dialect = byDate
			c.State = &slowState{slow: func(s OwnerState) time.Duration {
				if s.Gap != nil && s.Gap.Why == "the second" {
					return 10 * time.Minute // over Retry.Max
				}
				return 0
			}}
		})
		down := true
		var events []string
		api := withoutStatuses(&down, &events)
		var got handled
		f := followed(t, client, api, got.handle)
		defer f.stop()
		outage(t, f)
		time.Sleep(time.Hour)
		api.change(func() { events, down = append(events, dated("missed", time.Now())), false })
		filled, err := f.openGap(t.Context(), "the second")
		if err != nil {
			t.Fatal(err)
		}
		<-filled
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

func TestAProvidersClockThatIsSetBackIsNotForgottenInAnotherOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(c *Config) { c.Provider.Dialect = byDate })
		status := 500
		events := ""
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) { return status, "[" + events + "]" }}
		var got handled
		f := followed(t, client, api, got.handle)
		defer f.stop()
		outage(t, f)
		synctest.Wait()
		api.change(func() {
			api.ahead = -10 * time.Minute
			events, status = dated("missed", time.Now().Add(time.Second+api.ahead)), 200
		})
		f.saving.lock() // the store is at work
		again := make(chan error)
		go func() {
			_, err := f.openGap(t.Context(), "the second")
			again <- err
		}()
		time.Sleep(time.Hour) // an attempt has found out, and waits for the store as well
		f.saving.unlock()
		if err := <-again; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.open() || got.has("missed") == 0 {
			t.Errorf("open %v; what was missed was handed over %d times", f.open(), got.has("missed"))
		}
	})
}

func TestAnAnswerFromBeforeAnotherOutageDoesNotEndItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(c *Config) { c.Provider.Dialect = byDate })
		events := ""
		api := &webAPI{takes: 30 * time.Second, answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + events + "]"
			}
			return 200, "[]"
		}}
		var got handled
		f := followed(t, client, api, got.handle)
		defer f.stop()
		outage(t, f)
		time.Sleep(20 * time.Second) // the answer is under way
		api.change(func() { events = dated("missed", time.Now()) })
		<-outage(t, f)
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

// The broker may have subscribed an attempt whose SUBACK got lost, and then queued,
// and dropped or forgotten.
func TestAFirstSubscriptionThatTookTwoConnectionsIsAnOutageAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(c *Config) { c.Provider.Dialect = byDate })
		var events []string
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + strings.Join(events, ",") + "]"
			}
			return 200, "[]"
		}}
		for _, c := range []struct {
			failed, present bool
			want            int
		}{{true, true, 1}, {true, false, 1}, {false, true, 1}, {false, false, 0}} {
			var got handled
			f := newcomer(t, client, api, got.handle)
			f.connectionIs(push.Connecting)
			f.connectionIs(push.BackingOff) // the broker could not be reached
			f.connectionIs(push.Connecting)
			if err := f.saveFilters(t.Context(), []string{f.owner.root.String() + "#"}); err != nil {
				t.Fatal(err)
			}
			if c.failed {
				f.connectionIs(push.BackingOff)
				f.connectionIs(push.Connecting)
			}
			time.Sleep(10 * time.Minute)
			api.change(func() { events = []string{dated("missed", time.Now())} })
			time.Sleep(10 * time.Minute)
			f.connectionIs(push.Connected)
			if err := f.subscribed(t.Context(), push.Subscribed{SessionPresent: c.present}); err != nil {
				t.Fatal(err)
			}
			if got.has("missed") != c.want {
				t.Errorf("%+v: what the broker did not keep was handed over %d times", c, got.has("missed"))
			}
			f.stop()
		}
	})
}
