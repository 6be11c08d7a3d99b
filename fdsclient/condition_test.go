package fdsclient_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

func TestWhatTheHandlerFailsOnAndWhatWaitsBehindItAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		client := open(t, cfg)
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		if c := owner.Condition(); c.Connection.Phase != push.Stopped || c.Gap != nil || c.Failing != nil || !c.Last.IsZero() || c.Polled {
			t.Errorf("without a Run it is %+v", c)
		}
		var heals atomic.Bool
		runClient(t, client, func(_ context.Context, m delivery.Message) error {
			if string(m.Payload) == `"bad"` && !heals.Load() {
				return errNotYet
			}
			return nil
		})
		subscribed(t, p, o)
		publish(t, p, o, `"good"`)
		eventually(t, "a message handled", func() bool { return !owner.Condition().Last.IsZero() })
		publish(t, p, o, `"bad"`)
		publish(t, p, o, `"behind"`)
		publish(t, p, o, `"behind it"`)
		var c fdsclient.Condition
		eventually(t, "it failed twice", func() bool { c = owner.Condition(); return c.Failing != nil && c.Failing.Attempts > 1 })
		if string(c.Failing.Message.Payload) != `"bad"` || c.Failing.Message.Owner != owner.Key() || !errors.Is(c.Failing.Err, errNotYet) || time.Since(c.Failing.Since) > time.Minute {
			t.Errorf("failing on %+v", c.Failing)
		}
		if c.Connection.Phase != push.Connected || c.Connection.Err != nil {
			t.Errorf("the connection is %+v", c.Connection)
		}
		eventually(t, "two wait", func() bool { return owner.Condition().Waiting == 2 })
		heals.Store(true)
		eventually(t, "all is well again", func() bool { c := owner.Condition(); return c.Failing == nil && c.Waiting == 0 })
	})
}

func TestAnOpenGapIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		cfg.Gaps.Wait = 10 * time.Millisecond
		cfg.Gaps.Retry.Max = 2 * time.Second
		client := open(t, cfg)
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		runClient(t, client, ignore)
		subscribed(t, p, o)
		if g := owner.Condition().Gap; g != nil {
			t.Errorf("before any outage there is %+v", g)
		}
		heal := inject(t, p, fdstest.Unavailable(fdstest.APIEndpoint, ""))
		inject(t, p, fdstest.LoseSessions(o))
		eventually(t, "the gap", func() bool { return owner.Condition().Gap != nil })
		if g := owner.Condition().Gap; g != nil && (g.Reason == "" || g.Since.IsZero()) {
			t.Errorf("it is %+v", g)
		}
		stored := func() *fdsclient.Gap { // as another process sees it
			g, err := owner.StoredGap(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		eventually(t, "the gap is stored", func() bool { return stored() != nil })
		if g, open := stored(), owner.Condition().Gap; g != nil && open != nil && (!g.Since.Equal(open.Since) || g.Reason == "") {
			t.Errorf("stored is %+v, and open %+v", g, open)
		}
		heal()
		eventually(t, "no gap", func() bool { return owner.Condition().Gap == nil })
		eventually(t, "no gap is stored", func() bool { return stored() == nil })
	})
}

func TestThatAnOwnerWasConnectedFromThisStateIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		client := open(t, configure(t, p))
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		has := func() bool {
			has, err := owner.HasSession(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return has
		}
		if has() {
			t.Error("nobody was connected, and a session is known")
		}
		end := runClient(t, client, ignore)
		subscribed(t, p, o)
		if !has() {
			t.Error("it is connected, and no session is known")
		}
		end()
		if !has() {
			t.Error("it was connected, and no session is known")
		}
	})
}

func TestAPolledOwnerIsSeenAndReadAtOnceWhenWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{TimeRange: &fdstest.TimeRange{From: "from", To: "to"}})
		cfg, log := polled(t, p, boxDialect)
		cfg.Poll.Interval = time.Hour
		client := open(t, cfg)
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		owner.Wake() // nobody has it yet
		var box inbox
		runClient(t, client, box.handle)
		log.more(t, o, 1)
		if c := owner.Condition(); !c.Polled || c.Connection.Phase != push.Stopped {
			t.Errorf("it is %+v", c)
		}
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		e.publish(2)
		eventually(t, "woken, it is read before its hour", func() bool { owner.Wake(); return len(e.missing(&box)) == 0 })
		if owner.Condition().Last.IsZero() {
			t.Error("the last message has no time")
		}
	})
}

// The hooks that follow are wrong in ways that nobody would notice.
type (
	noHook       struct{}
	otherOwner   struct{}
	onThePointer struct{}
	right        struct{ told atomic.Int32 }
)

func (otherOwner) OnConnection(string, push.State) {}

func (otherOwner) OnStoreUnavailable(error) {}

func (*onThePointer) OnStoreUnavailable(error) {}

func (r *right) OnConnection(fds.OwnerKey, push.State) { r.told.Add(1) }

func TestAHookThatWouldNeverBeCalledIsRefused(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, c := range map[string]struct {
		hook any
		says string
	}{
		"nothing":                      {nil, "is nil"},
		"a function":                   {func() {}, "implements no hook"},
		"no method of a hook":          {noHook{}, "OnConnection"},
		"another signature":            {otherOwner{}, "fds.OwnerKey"},
		"methods on the pointer alone": {onThePointer{}, "give its address"},
	} {
		cfg := configure(t, p)
		cfg.Hooks = []any{&right{}, c.hook}
		if _, err := fdsclient.New(cfg); !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "Hooks[1]") {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}
	cfg := configure(t, p)
	hook := &right{}
	cfg.Hooks = []any{hook, &onThePointer{}}
	client := open(t, cfg)
	signIn(t, client, p)
	runClient(t, client, ignore)
	eventually(t, "a hook that is right is told", func() bool { return hook.told.Load() > 0 })
}

func TestAClientSaysWhatWillNotWork(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, c := range map[string]struct {
		change func(*fdsclient.Config)
		says   string
	}{
		"a broker without a Web API": {func(c *fdsclient.Config) { c.Provider.APIURL = "" }, "Provider.APIURL is missing"},
		"topics that cannot be told": {func(c *fdsclient.Config) { c.Push.Topics = []string{"devices/+/events"} }, "EventTopic"},
		"all is well":                {func(*fdsclient.Config) {}, ""},
		"gaps are off":               {func(c *fdsclient.Config) { c.Provider.APIURL, c.Gaps.Off = "", true }, ""},
		"topics that can be told": {func(c *fdsclient.Config) {
			c.Push.Topics, c.Provider.Dialect = []string{"devices/+/events"}, p.Dialect()
		}, ""},
	} {
		var log bytes.Buffer
		cfg := configure(t, p)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		c.change(&cfg)
		client, err := fdsclient.New(cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.says == "" && log.Len() > 0 || !strings.Contains(log.String(), c.says) {
			t.Errorf("%s: %q, want %q in it", name, log.String(), c.says)
		}
		client.Close()
	}
}
