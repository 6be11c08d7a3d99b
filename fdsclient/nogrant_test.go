package fdsclient_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// phases is a hook that keeps the last state of each connection.
type phases struct {
	mu   sync.Mutex
	last map[fds.SubscriptionID]push.State
}

func (l *phases) OnConnection(owner fds.OwnerKey, s push.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[fds.SubscriptionID]push.State)
	}
	l.last[owner.SubscriptionID] = s
}

func (l *phases) of(o fdstest.Owner) push.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[o.SubscriptionID]
}

// withoutGrant is a scene with short tokens, whose owners lose their grants soon.
func withoutGrant(t *testing.T, change func(*fdsclient.Config)) (*scene, *phases) {
	t.Helper()
	fdsclient.LookAgainAfter(t, 50*time.Millisecond)
	told := &phases{}
	s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
		cfg.Hooks = append(cfg.Hooks, told)
		cfg.Poll.Margin = time.Minute
		if change != nil {
			change(cfg)
		}
	})
	s.p.SetTokenLifetimes(300*time.Millisecond, 0)
	return s, told
}

// needed waits until "sign in again" is told of an owner, whose token somebody wants.
func (s *scene) needed(i int) {
	s.t.Helper()
	eventually(s.t, "sign in again is told", func() bool {
		_, _ = s.of(i).Token(s.t.Context())
		return s.seen.count(func() int {
			n := 0
			for _, e := range s.seen.needed {
				for _, key := range e.Owners {
					if key == s.of(i).Key() {
						n++
					}
				}
			}
			return n
		}) > 0
	})
}

// ended waits until an owner's connection has ended for a reason that matches.
func (s *scene) ended(told *phases, i int, reasons ...error) {
	s.t.Helper()
	o := s.of(i)
	eventually(s.t, "the connection ended", func() bool {
		return o.Connection().Phase == push.Stopped && o.Connection().Err != nil && (told == nil || told.of(s.all[i]).Phase == push.Stopped)
	})
	states := map[string]push.State{"Connection": o.Connection(), "Condition": o.Condition().Connection}
	if told != nil {
		states["HookConnection"] = told.of(s.all[i])
	}
	for name, state := range states {
		for _, reason := range reasons {
			if state.Phase != push.Stopped || !errors.Is(state.Err, reason) {
				s.t.Errorf("%s: %s is %+v, want why: %v", canaries[i], name, state, reason)
			}
		}
	}
}

func (s *scene) connected(i int) {
	s.t.Helper()
	o := s.all[i]
	eventually(s.t, "connected", func() bool { return s.p.Subscriber(o).Connected && s.of(i).Connection().Phase == push.Connected })
}

// TestAttackWhoseConsentIsWithdrawnGetsNoMoreMessages until there is a new sign-in, to which
// the broker's session has kept them.
func TestAttackWhoseConsentIsWithdrawnGetsNoMoreMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, told := withoutGrant(t, nil)
		s.signIn()
		runClient(t, s.client, s.box.handle)
		for i := range s.all {
			s.connected(i)
		}
		if n := s.p.RevokeGrants(s.all[2]); n != 1 {
			t.Fatalf("%d grants were revoked", n)
		}
		s.needed(2)
		s.ended(told, 2, fds.ErrSignInRequired)
		eventually(t, "disconnected", func() bool { return !s.p.Subscriber(s.all[2]).Connected })
		kept := s.publish(2)
		for i := range 2 {
			ids := s.publish(i)
			eventually(t, "others go on", func() bool { return s.has(&s.box, ids) == perList })
		}
		if n := s.has(&s.box, kept); n > 0 || !s.p.Subscriber(s.all[2]).Session || s.p.Subscriber(s.all[2]).Connected {
			t.Errorf("%d messages were handed over without a grant; %+v", n, s.p.Subscriber(s.all[2]))
		}
		s.register(signIn(t, s.client, s.p, s.all[2]))
		s.connected(2)
		eventually(t, "what was kept", func() bool { return s.has(&s.box, kept) == perList })
		if err := s.of(2).Connection().Err; err != nil {
			t.Errorf("back again it has %v", err)
		}
		s.onlyOwn(&s.box)
	})
}

// firstLater is a store whose first Load answers once there is a second, as where one
// reader is slower than another, or once it is let go.
type firstLater struct {
	tokenstore.Store
	loads  atomic.Int64
	second chan struct{}
	letGo  <-chan struct{}
}

func (f *firstLater) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	switch f.loads.Add(1) {
	case 1:
		select {
		case <-f.second:
		case <-f.letGo:
		}
	case 2:
		close(f.second)
	}
	return f.Store.Load(ctx, key)
}

// lateState is a store of states that answers once the grant is known to have lapsed.
type lateState struct {
	statestore.Store
	needed func() bool
}

func (l *lateState) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	for !l.needed() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return l.Store.Load(ctx, key)
}

// TestAttackARestartHandsNothingToWhoHasNoGrant: the broker kept its session, and the queue.
func TestAttackARestartHandsNothingToWhoHasNoGrant(t *testing.T) {
	for name, restart := range map[string]func(*scene, *hooks){
		"at once": func(s *scene, _ *hooks) {},
		"whose connection is faster than the look at the grant": func(s *scene, _ *hooks) {
			s.cfg.Store = &firstLater{Store: s.cfg.Store, second: make(chan struct{}), letGo: s.t.Context().Done()}
		},
		"whose connection is slower": func(s *scene, seen *hooks) {
			s.cfg.State = &lateState{s.cfg.State, func() bool { return seen.count(func() int { return len(seen.needed) }) > 0 }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, told := withoutGrant(t, func(cfg *fdsclient.Config) { cfg.Gaps.TrustSession = true })
				s.register(signIn(t, s.client, s.p, s.all[2]))
				stop := runClient(t, s.client, s.box.handle)
				s.connected(2)
				s.p.RevokeGrants(s.all[2])
				s.needed(2)
				s.ended(told, 2, fds.ErrSignInRequired)
				stop()
				s.client.Close()
				kept := s.publish(2)
				told, again := &phases{}, &hooks{}
				s.cfg.Hooks = []any{told, again}
				restart(s, again)
				s.client = open(t, s.cfg)
				owners, err := s.client.Owners(t.Context())
				if err != nil || len(owners) != 1 {
					t.Fatal(owners, err)
				}
				s.register(owners)
				runClient(t, s.client, s.box.handle)
				s.ended(told, 2, fds.ErrSignInRequired)
				if n := s.has(&s.box, kept); n > 0 {
					t.Errorf("%d messages were handed over without a grant", n)
				}
			})
		})
	}
}

// TestALapseThatTheProviderUndoesBringsTheConnectionBack though nobody signed in.
func TestALapseThatTheProviderUndoesBringsTheConnectionBack(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){"push": nil, "poll": polling} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := withoutGrant(t, change)
				s.register(signIn(t, s.client, s.p, s.all[2]))
				runClient(t, s.client, s.box.handle)
				eventually(t, "at work", func() bool { return s.of(2).Connection().Phase == push.Connected || s.of(2).Condition().Polled })
				off := s.p.Inject(fdstest.RefuseRefresh("invalid_grant", ""))
				s.needed(2)
				s.ended(nil, 2, fds.ErrSignInRequired)
				off()
				record := stored(t, s.cfg.Store)
				record.Renewal.Looked = record.Renewal.Looked.Add(-25 * time.Hour) // the next look is due
				if _, err := s.cfg.Store.Save(t.Context(), record); err != nil {
					t.Fatal(err)
				}
				eventually(t, "back", func() bool {
					_, _ = s.of(2).Token(t.Context())
					return s.of(2).Connection().Phase == push.Connected || s.of(2).Condition().Polled
				})
				ids := s.publish(2)
				eventually(t, "its messages", func() bool { return s.has(&s.box, ids) == perList })
			})
		})
	}
}

// TestAttackWhoIsTakenOutOfAGrantGetsNoMoreMessages: the others of the grant do.
func TestAttackWhoIsTakenOutOfAGrantGetsNoMoreMessages(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){"push": nil, "poll": polling} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, told := withoutGrant(t, change)
				s.signIn()
				runClient(t, s.client, s.box.handle)
				for i := range s.all {
					eventually(t, "at work", func() bool { return s.of(i).Connection().Phase == push.Connected || s.of(i).Condition().Polled })
				}
				if n := s.p.Withdraw(s.all[1]); n != 1 {
					t.Fatalf("taken out of %d grants", n)
				}
				b, pulled := s.of(1), s.of(1).Pull()
				s.needed(0 + 1)
				s.ended(told, 1, fds.ErrSignInRequired, fds.ErrSubscriptionChanged)
				eventually(t, "its session ended", func() bool { return name == "poll" || !s.p.Subscriber(s.all[1]).Session })
				none := s.publish(1)
				for i := range s.all {
					if i == 1 {
						continue
					}
					ids := s.publish(i)
					eventually(t, "others go on", func() bool { return s.has(&s.box, ids) == perList })
				}
				if n := s.has(&s.box, none); n > 0 {
					t.Errorf("%d messages were handed over without a grant", n)
				}
				for way, l := range lists(t.Context(), pulled) {
					if len(l.raw) > 0 || !errors.Is(l.err, fds.ErrSignInRequired) {
						t.Errorf("%s: %d items, %v", way, len(l.raw), l.err)
					}
				}
				s.register(signIn(t, s.client, s.p, s.all[1]))
				eventually(t, "back", func() bool { return s.of(1).Connection().Phase == push.Connected || s.of(1).Condition().Polled })
				if name == "poll" {
					s.polls.next(t, s.all[1])
				}
				ids := s.publish(1)
				eventually(t, "its messages", func() bool { return s.has(&s.box, ids) == perList })
				if s.of(1) == b {
					t.Error("who was taken away is used again")
				}
				s.onlyOwn(&s.box)
			})
		})
	}
}

func TestKeepWithoutGrantKeepsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := withoutGrant(t, func(cfg *fdsclient.Config) { cfg.KeepWithoutGrant = true })
		s.signIn()
		runClient(t, s.client, s.box.handle)
		for i := range s.all {
			s.connected(i)
		}
		s.p.RevokeGrants(s.all[2])
		s.p.Withdraw(s.all[1])
		s.needed(2)
		s.needed(1)
		connects := s.p.Subscriber(s.all[1]).Connects
		for i := range s.all {
			ids := s.publish(i)
			eventually(t, "messages go on", func() bool { return s.has(&s.box, ids) == perList })
			s.connected(i)
		}
		if n := s.p.Subscriber(s.all[1]).Connects; n != connects {
			t.Errorf("connected %d times, %d before", n, connects)
		}
		s.p.SetTokenLifetimes(time.Minute, 0)
		s.register(signIn(t, s.client, s.p, s.all[1])) // whose connection knows nothing of the new grant
		s.connected(1)
		lost := s.lose()
		eventually(t, "fetched with the new grant", func() bool { return s.has(&s.box, lost[1]) == perList })
		b := s.of(1)
		if err := b.SignOut(t.Context()); err != nil {
			t.Error(err)
		}
		eventually(t, "signed out", func() bool { return !s.p.Subscriber(s.all[1]).Session })
		s.onlyOwn(&s.box)
	})
}

// TestAttackKeepWithoutGrantPollsNobody: without a grant nothing can be read.
func TestAttackKeepWithoutGrantPollsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, told := withoutGrant(t, func(cfg *fdsclient.Config) {
			polling(cfg)
			cfg.KeepWithoutGrant = true
		})
		s.signIn()
		runClient(t, s.client, s.box.handle)
		for _, o := range s.all {
			s.polls.next(t, o)
		}
		s.p.RevokeGrants(s.all[2])
		s.p.Withdraw(s.all[1])
		s.needed(2)
		s.needed(1)
		s.ended(told, 2, fds.ErrSignInRequired)
		s.ended(told, 1, fds.ErrSubscriptionChanged)
	})
}

// TestAttackWhoLeftInAnotherProcessGetsNoMoreMessages: by whichever way, within
// Push.Rescan.
func TestAttackWhoLeftInAnotherProcessGetsNoMoreMessages(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fdsclient.Config)
		leave  func(s *scene, elsewhere *fdsclient.Client)
		why    error
		kept   bool
	}{
		"signed out":                        {nil, signedOutElsewhere, fds.ErrNoOwner, false},
		"signed out, polled":                {polling, signedOutElsewhere, fds.ErrNoOwner, false},
		"signed out, with KeepWithoutGrant": {keepWithoutGrant, signedOutElsewhere, fds.ErrNoOwner, false},
		"taken away":                        {nil, takenAwayElsewhere, fds.ErrSubscriptionChanged, false},
		"taken away, polled":                {polling, takenAwayElsewhere, fds.ErrSubscriptionChanged, false},
		"taken away, with KeepWithoutGrant": {keepWithoutGrant, takenAwayElsewhere, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, certainties[0], test.change)
				s.register(signIn(t, s.client, s.p, s.all[0], s.all[1]))
				elsewhere := s.cfg
				elsewhere.Hooks, elsewhere.State = nil, &statestore.Memory{}
				other := open(t, elsewhere)
				runClient(t, s.client, s.box.handle)
				for i := range 2 {
					eventually(t, "at work", func() bool { return s.of(i).Connection().Phase == push.Connected || s.of(i).Condition().Polled })
				}
				test.leave(s, other)
				if test.kept {
					ids := s.publish(1)
					eventually(t, "messages go on", func() bool { return s.has(&s.box, ids) == perList })
					s.connected(1)
					s.connected(0)
					return
				}
				s.ended(nil, 1, test.why)
				none, ids := s.publish(1), s.publish(0)
				eventually(t, "the other's", func() bool { return s.has(&s.box, ids) == perList })
				if n := s.has(&s.box, none); n > 0 {
					t.Errorf("%d messages were handed over to who has left", n)
				}
				if tok, err := s.of(1).Token(t.Context()); !errors.Is(err, test.why) {
					t.Errorf("its token: %v, %v", tok, err)
				}
				s.onlyOwn(&s.box)
			})
		})
	}
}

func keepWithoutGrant(cfg *fdsclient.Config) { cfg.KeepWithoutGrant = true }

func signedOutElsewhere(s *scene, elsewhere *fdsclient.Client) {
	o, err := elsewhere.Owner(s.t.Context(), s.all[1].SubscriptionID)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := o.SignOut(s.t.Context()); !errors.Is(err, fds.ErrGrantShared) {
		s.t.Fatal(err)
	}
}

func takenAwayElsewhere(s *scene, elsewhere *fdsclient.Client) {
	s.p.Withdraw(s.all[1])
	expireAll(s.t, s.cfg.Store)
	o, err := elsewhere.Owner(s.t.Context(), s.all[0].SubscriptionID)
	if err != nil {
		s.t.Fatal(err)
	}
	token(s.t, o)
}

// expireAll makes the stored access tokens ones that have expired.
func expireAll(t *testing.T, store tokenstore.Store) {
	t.Helper()
	for e, err := range store.List(context.WithoutCancel(t.Context())) {
		if err != nil {
			t.Fatal(err)
		}
		g, err := store.Load(t.Context(), e.Key)
		if err != nil {
			t.Fatal(err)
		}
		g.Renewed, g.AccessExpiry = g.Renewed.Add(-time.Hour), time.Now().Add(-time.Minute)
		if _, err := store.Save(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAttackWhoWasTakenAwayElsewhereIsToldSoByTheNextRenewal and not that it signed out.
func TestAttackWhoWasTakenAwayElsewhereIsToldSoByTheNextRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, certainties[0], nil)
		s.p.SetTokenLifetimes(300*time.Millisecond, 0)
		s.register(signIn(t, s.client, s.p, s.all[0], s.all[1]))
		elsewhere := s.cfg
		elsewhere.Hooks = nil
		other := open(t, elsewhere)
		takenAwayElsewhere(s, other)
		eventually(t, "no token of the grant", func() bool {
			_, err := s.of(1).Token(t.Context())
			return err != nil
		})
		if tok, err := s.of(1).Token(t.Context()); !errors.Is(err, fds.ErrSubscriptionChanged) || !errors.Is(err, fds.ErrSignInRequired) {
			t.Errorf("%v, %v", tok, err)
		}
		token(t, s.of(0))
	})
}
