package fdsclient_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
)

func TestASecondOutageWhileTheFirstGapIsBeingFetchedLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		cfg.Gaps.Retry.Initial = 20 * time.Millisecond
		cfg.Gaps.Retry.Max = 50 * time.Millisecond
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		signIn(t, client, p)
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, o)
		e.publish(2)
		e.arrive(&box)

		down := inject(t, p, fdstest.Answer(fdstest.APIEndpoint, 503, "text/plain", "down"))
		for range 2 {
			connects := p.Subscriber(o).Connects
			off := inject(t, p, fdstest.RefuseConnections(o))
			inject(t, p, fdstest.LoseSessions(o))
			e.publish(5)
			off()
			eventually(t, "connected again", func() bool { s := p.Subscriber(o); return s.Connects > connects && len(s.Subscriptions) > 0 })
			eventually(t, "the gap reported", func() bool { return len(gaps.all(fdsclient.GapOpened)) > 0 })
		}
		if n := len(gaps.all(fdsclient.GapClosed)); n != 0 {
			t.Fatalf("%d gaps were closed while the Web API was down", n)
		}
		if n := len(e.missing(&box)); n != 10 {
			t.Fatalf("%d events are missing, want 10", n)
		}
		down()
		e.arrive(&box)
		key := gaps.all(fdsclient.GapOpened)[0].Owner
		eventually(t, "no gap stored", func() bool {
			state, err := remembered(t, cfg, key)
			return err == nil && state.Gap == nil
		})
	})
}

func TestABackfilledMessageThatTheHandlerNeverTakesGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		var mu sync.Mutex
		var dead []delivery.Message
		cfg.Push.MaxAttempts = 2
		cfg.Push.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
			mu.Lock()
			defer mu.Unlock()
			if !errors.Is(err, errNotYet) {
				t.Errorf("the dead letter came with %v", err)
			}
			dead = append(dead, m)
			return nil
		}
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		client := open(t, cfg)
		signIn(t, client, p)
		o := p.Owners()[0]
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		var box inbox
		bad := "" // its ID
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			mu.Lock()
			refused := bad != "" && strings.Contains(string(m.Payload), bad)
			mu.Unlock()
			if refused {
				return errNotYet
			}
			return box.handle(ctx, m)
		})
		subscribed(t, p, o)
		e.publish(1)
		e.arrive(&box)
		off := inject(t, p, fdstest.RefuseConnections(o))
		inject(t, p, fdstest.LoseSessions(o))
		e.publish(5)
		mu.Lock()
		bad = e.ids[3]
		mu.Unlock()
		off()
		eventually(t, "the gap closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) > 0 })
		if missing := e.missing(&box); len(missing) != 1 || missing[0] != bad {
			t.Errorf("missing: %v, want %s alone", missing, bad)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(dead) != 1 || dead[0].Source != delivery.FromBackfill || !strings.Contains(string(dead[0].Payload), bad) {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

var errNotYet = errors.New("not yet")

// brokenState is a state store that cannot write for one owner.
type brokenState struct {
	statestore.Store
	mu     sync.Mutex
	broken fds.OwnerKey
	failed int
}

func (s *brokenState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key.Owner == s.broken {
		s.failed++
		return "", errors.New("the disk is full")
	}
	return s.Store.Save(ctx, key, data, revision)
}

func TestAGapThatCannotBeStoredHoldsItsOwnersMessagesAndHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		state := &brokenState{Store: cfg.State}
		cfg.State = state
		cfg.Gaps.Wait = 100 * time.Millisecond // then a gap is stored before messages flow
		client := open(t, cfg)
		broken := signIn(t, client, p, p.Owners()[0])[0] // each a grant of their own, so that the Web API tells them apart
		signIn(t, client, p, p.Owners()[1])
		var box inbox
		runClient(t, client, box.handle)
		var publishers []*events
		for _, o := range p.Owners()[:2] {
			subscribed(t, p, o)
			e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
			e.publish(1)
			e.arrive(&box)
			publishers = append(publishers, e)
		}
		state.mu.Lock()
		state.broken = broken.Key()
		state.mu.Unlock()
		heal := inject(t, p, fdstest.Unavailable(fdstest.APIEndpoint, ""))
		off := inject(t, p, fdstest.RefuseConnections())
		inject(t, p, fdstest.LoseSessions())
		for _, o := range p.Owners()[:2] {
			eventually(t, "disconnected", func() bool { return !p.Subscriber(o).Connected })
		}
		for _, e := range publishers {
			e.publish(5)
		}
		off()
		eventually(t, "the failure shown", func() bool {
			s := broken.Connection()
			return s.Err != nil && strings.Contains(s.Err.Error(), "the disk is full")
		})
		if n := len(publishers[0].missing(&box)); n == 0 {
			t.Error("messages were handed over though what was missed before them was not stored")
		}
		heal()
		publishers[1].arrive(&box)
		state.mu.Lock()
		state.broken = fds.OwnerKey{}
		state.mu.Unlock()
		publishers[0].arrive(&box)
	})
}

func TestADamagedStateFileCostsItsOwnerDuplicatesAndNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		path := t.TempDir()
		folder, err := statestore.OpenFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		cfg.State = folder
		client := open(t, cfg)
		var box inbox
		var publishers []*events
		var keys []fds.OwnerKey
		for _, o := range p.Owners()[:2] {
			keys = append(keys, signIn(t, client, p, o)[0].Key()) // each a grant of their own, so that the Web API tells them apart
			publishers = append(publishers, &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }})
		}
		stop := runClient(t, client, box.handle)
		for i, o := range p.Owners()[:2] {
			subscribed(t, p, o)
			publishers[i].publish(3)
			publishers[i].arrive(&box)
		}
		stop()
		inject(t, p, fdstest.LoseSessions())
		files, err := filepath.Glob(filepath.Join(path, keys[0].SubscriptionID.String()+"*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("state files %v, %v", files, err)
		}
		if err := os.WriteFile(files[0], []byte(`{"version":1,`), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, e := range publishers {
			e.publish(5)
		}
		gaps := &gapLog{}
		cfg.Hooks = []any{gaps}
		runClient(t, open(t, cfg), box.handle)
		for _, e := range publishers {
			e.arrive(&box)
		}
		eventually(t, "both gaps closed", func() bool { return len(gaps.all(fdsclient.GapClosed)) == 2 })
		for _, g := range gaps.all(fdsclient.GapClosed) {
			if damaged := g.Owner == keys[0]; damaged != g.Gap.From.IsZero() {
				t.Errorf("owner %s: the gap begins at %v", g.Owner, g.Gap.From)
			}
		}
		eventually(t, "the position stored", func() bool {
			state, err := remembered(t, cfg, keys[0])
			return err == nil && !state.Position.IsZero()
		})
	})
}
