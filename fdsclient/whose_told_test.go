package fdsclient_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
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

// hearsay is a hook that keeps all that hooks are told, as text.
type hearsay struct {
	records
	once sync.Once
	slow chan struct{} // closed when a handler was slow
}

func (e *hearsay) say(what string, about ...any) {
	for _, one := range about {
		fmt.Fprintf(&e.records, "%s %v %+v\n", what, one, one)
	}
}

func (e *hearsay) OnRenewed(g fdsclient.GrantEvent)          { e.say("renewed", g) }
func (e *hearsay) OnRenewalFailing(g fdsclient.GrantEvent)   { e.say("failing", g, g.Err) }
func (e *hearsay) OnSignInNeeded(g fdsclient.GrantEvent)     { e.say("needed", g, g.Err) }
func (e *hearsay) OnStoreUnavailable(err error)              { e.say("store", err) }
func (e *hearsay) OnConnection(o fds.OwnerKey, s push.State) { e.say("connection", o, s, s.Err) }
func (e *hearsay) OnCertificate(o fds.OwnerKey, err error)   { e.say("certificate", o, err) }
func (e *hearsay) OnGap(g fdsclient.GapEvent)                { e.say("gap", g, g.Err) }
func (e *hearsay) OnPoll(p fdsclient.PollEvent)              { e.say("poll", p, p.Err) }
func (e *hearsay) OnDiscarded(o fds.OwnerKey, err error)     { e.say("discarded", o, err) }

func (e *hearsay) OnConnect(o fds.OwnerKey, _ time.Duration, err error) {
	e.say("attempt", o, err)
}

func (e *hearsay) OnHandled(o fds.OwnerKey, _ time.Duration, err error) {
	e.say("handled", o, err)
}

func (e *hearsay) OnSlowHandler(o fds.OwnerKey, took time.Duration) {
	e.say("slow", o, took)
	e.once.Do(func() { close(e.slow) })
}

// TestAttackNothingOfAnItemIsToldToWhoMayWatchAllOwners: hooks, log and what is printed may
// reach people who may not see it.
func TestAttackNothingOfAnItemIsToldToWhoMayWatchAllOwners(t *testing.T) {
	for name, change := range map[string]func(*fdsclient.Config){"push": func(*fdsclient.Config) {}, "poll": polling} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				told := &hearsay{slow: make(chan struct{})}
				s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
					change(cfg)
					cfg.Hooks = append(cfg.Hooks, told)
					cfg.Push.MaxAttempts, cfg.Push.SlowHandler = 1, time.Millisecond
					cfg.Push.DeadLetter = func(context.Context, delivery.Message, error) error { return errTooHard }
				})
				defer s.p.Inject(fdstest.NamelessItems(isOdd))()
				s.furnish().signIn()
				var calls atomic.Int64
				runClient(t, s.client, func(_ context.Context, m delivery.Message) error {
					told.say("message", m, m.LogValue())
					<-told.slow
					if calls.Add(1)%3 == 0 {
						panic("the handler")
					}
					return errTooHard
				})
				if name == "push" {
					for _, o := range s.all {
						subscribed(t, s.p, o)
					}
					s.lose()
					for i := range s.all {
						payload := fmt.Sprintf(`{"subscription_id":%q,"note":%q}`, fds.NewSubscriptionID(), canaries[i])
						if err := s.p.PublishRaw(t.Context(), s.all[i], s.all[(i+1)%3].Topic("devices"), []byte(payload), 1); err != nil {
							t.Fatal(err)
						}
						publish(t, s.p, s.all[i], payload)
					}
					eventually(t, "a gap fails", func() bool {
						return strings.Contains(told.String(), "gap {") && strings.Contains(told.String(), "failing")
					})
				} else {
					for i, o := range s.all {
						s.polls.next(t, o)
						s.publish(i)
						s.polls.next(t, o)
					}
				}
				eventually(t, "messages", func() bool {
					text := told.String()
					return strings.Contains(text, "message message of") && strings.Contains(text, "handled") && strings.Contains(text, "slow")
				})
				for i := range s.all {
					o := s.of(i)
					told.say("printed", s.client, o, o.Pull(), o.PullGrant(), o.Key(), o.Root(), o.Connection().Err, o.RoundTripper(), o.TokenSource(t.Context()))
					_, err := s.of((i+1)%3).Pull().Tag(t.Context(), s.device(i, 0))
					told.say("error", err)
				}
				s.silent(told.String())
				for _, secret := range s.p.Secrets() {
					if strings.Contains(told.String(), secret) {
						t.Error("a secret is told")
					}
				}
			})
		})
	}
}
