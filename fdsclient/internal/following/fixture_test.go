package following

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
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

// pass lets time pass, and returns once everything is done that this brings: what it has written
// may be read then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// anyone needs no token.
type anyone struct{}

func (anyone) Authorize(context.Context, *http.Request) error                     { return nil }
func (anyone) Challenged(context.Context, *http.Response) (retry bool, err error) { return false, nil }

// config is what a test sets of the followers of a Client.
type config struct {
	Dialect fds.Dialect
	Topics  []string
	NoAPI   bool
	Gaps    struct {
		Margin, Wait                      time.Duration
		Concurrent                        int
		Retry                             push.Backoff
		DropDuplicates, Off, TrustSession bool
	}
	Poll        struct{ Interval, Margin time.Duration }
	MaxAttempts int
	DeadLetter  func(context.Context, delivery.Message, error) error
	Store       statestore.Store
	Log         slog.Handler
	OnGap       func(GapEvent)
	OnPoll      func(PollEvent)
	Shared      func(context.Context) (bool, error) // see pull.Config
}

// fixture is the followers of a Client, and what a run calls its handler with.
type fixture struct {
	*Followers
	config config
}

// pushing makes the followers of a Client whose owners a broker pushes to.
func pushing(t *testing.T, change func(*config)) *fixture {
	t.Helper()
	cfg := config{Store: new(statestore.Memory), Log: slog.DiscardHandler, OnGap: func(GapEvent) {}, OnPoll: func(PollEvent) {}}
	cfg.Gaps.Margin, cfg.Gaps.Wait, cfg.Gaps.Concurrent = time.Minute, 30*time.Second, 16
	cfg.Gaps.Retry = push.Backoff{Initial: 2 * time.Second, Max: 5 * time.Minute}
	cfg.Poll.Margin = 5 * time.Minute
	if change != nil {
		change(&cfg)
	}
	cfg.Dialect = cfg.Dialect.WithDefaults()
	if faults := cfg.Dialect.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	return &fixture{New(Settings{
		ClientID: "app", Store: cfg.Store, Dialect: cfg.Dialect, Topics: cfg.Topics, HasAPI: !cfg.NoAPI,
		Margin: cfg.Gaps.Margin, Wait: cfg.Gaps.Wait, Concurrent: cfg.Gaps.Concurrent,
		RetryInitial: cfg.Gaps.Retry.Initial, RetryMax: cfg.Gaps.Retry.Max,
		GapsOff: cfg.Gaps.Off, TrustSession: cfg.Gaps.TrustSession, DropDuplicates: cfg.Gaps.DropDuplicates,
		PollInterval: cfg.Poll.Interval, PollMargin: cfg.Poll.Margin,
		Log: slog.New(cfg.Log), Gap: cfg.OnGap, Polled: cfg.OnPoll,
	}), cfg}
}

const issuer = "https://auth.example"

// owner makes one of them, whose items a transport answers with.
func (a *fixture) owner(t *testing.T, id fds.SubscriptionID, api http.RoundTripper) Owner {
	t.Helper()
	client, err := pull.New(pull.Config{
		BaseURL: "https://api.example", Authorizer: anyone{}, Transport: api, Dialect: a.Dialect, Root: id.Root(),
		Shared: a.config.Shared, Settings: pull.Settings{RetryFor: -1}, Logger: a.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return Owner{Key: fds.OwnerKey{Issuer: issuer, SubscriptionID: id}, Items: client.Items}
}

// follow follows an owner as a run does.
func (a *fixture) follow(t *testing.T, o Owner, h delivery.Handler) *Follower {
	t.Helper()
	return a.Follow(t.Context(), o, &handoff.Settings{
		Handler: h, MaxAttempts: a.config.MaxAttempts, DeadLetter: a.config.DeadLetter, SlowAfter: time.Minute, Logger: a.Log,
	})
}

// followBatches is follow for a handler of several messages.
func (a *fixture) followBatches(t *testing.T, o Owner, b *delivery.Batching) *Follower {
	t.Helper()
	return a.Follow(t.Context(), o, &handoff.Settings{
		Batch: handoff.Complete(b, nil), MaxAttempts: a.config.MaxAttempts, DeadLetter: a.config.DeadLetter, SlowAfter: time.Minute, Logger: a.Log,
	})
}

// followed returns an owner whose messages up to now were handled, as a run follows
// it.
func followed(t *testing.T, a *fixture, api *webAPI, h delivery.Handler) *Follower {
	t.Helper()
	id := fds.NewSubscriptionID()
	key := fds.OwnerKey{Issuer: issuer, SubscriptionID: id}
	a.put(t, key, record{Filters: []string{id.Root().String() + "#"}, Position: time.Now()})
	return a.follow(t, a.owner(t, id, api.of(key)), h)
}

// newcomer returns an owner who was never subscribed, as a run follows it.
func newcomer(t *testing.T, a *fixture, api *webAPI, h delivery.Handler) *Follower {
	t.Helper()
	id := fds.NewSubscriptionID()
	return a.follow(t, a.owner(t, id, api.of(fds.OwnerKey{Issuer: issuer, SubscriptionID: id})), h)
}

// put stores the state of an owner, whatever is stored.
func (a *fixture) put(t *testing.T, owner fds.OwnerKey, state record) {
	t.Helper()
	data, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	there, err := a.Store.Load(t.Context(), a.key(owner, stateName))
	if err == nil || errors.Is(err, fds.ErrCorrupt) {
		_, err = a.Store.Save(t.Context(), a.key(owner, stateName), data, there.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// state is what a next process would find of an owner.
func (a *fixture) state(t *testing.T, owner fds.OwnerKey) record {
	t.Helper()
	state, _, err := a.read(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// outage is what follows one: the owner is subscribed again. Closed is closed when the
// gap is.
func outage(t *testing.T, f *Follower) (closed <-chan struct{}) {
	t.Helper()
	return outageOf(t, f, push.Subscribed{})
}

func outageOf(t *testing.T, f *Follower, s push.Subscribed) (closed <-chan struct{}) {
	t.Helper()
	f.saving.lock()
	found := f.stored.Gap
	f.saving.unlock()
	if closed = f.openGap(found, s, false); closed == nil {
		t.Fatal("nothing is fetched")
	}
	return closed
}

// open reports whether a gap is.
func (f *Follower) open() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gap.open != nil
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

// root begins the topics of an owner.
func root(f *Follower) string { return f.owner.Key.SubscriptionID.Root().String() }

// subscribed tells of a connection, as push does, until live messages may come.
func subscribed(t *testing.T, f *Follower, s push.Subscribed) {
	t.Helper()
	if err := f.Subscribed(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// errLost is why a connection ended.
var errLost = errors.New("the connection was lost")

// gaps keeps what is told of gaps.
type gaps struct {
	mu     sync.Mutex
	events []GapEvent
}

func (g *gaps) on(cfg *config) {
	cfg.OnGap = func(e GapEvent) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.events = append(g.events, e)
	}
}

// told returns the changes that were told since it was last asked.
func (g *gaps) told() (changes []Change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		changes = append(changes, e.Change)
	}
	g.events = nil
	return changes
}

// logged keeps the lines of a log from a level on.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) on(cfg *config, level slog.Level) {
	cfg.Log = slog.NewTextHandler(l, &slog.HandlerOptions{Level: level})
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// countedStore counts saves.
type countedStore struct {
	statestore.Memory
	saves atomic.Int64
}

func (s *countedStore) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.saves.Add(1)
	return s.Memory.Save(ctx, key, data, revision)
}

// joint says that the credentials are those of several owners.
func joint(context.Context) (bool, error) { return true, nil }
