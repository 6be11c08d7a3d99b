package following

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// TestAttackWhatABackfillFetchesOfAnotherOwnerIsNotHandedOver: one token may read the
// data of several owners who signed in together.
func TestAttackWhatABackfillFetchesOfAnotherOwnerIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(cfg *config) { cfg.Dialect.SubscriptionMember = "owner.id" })
		item := func(id string, kind pull.Kind, owner fds.SubscriptionID) string {
			return fmt.Sprintf(`{"message_id":"%s %s","owner":{"id":%q}}`, id, kind, strings.ToUpper(owner.String()))
		}
		api := &webAPI{answer: func(owner fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			return 200, "[" + item("foreign", kind, fds.NewSubscriptionID()) + "," + item("own", kind, owner.SubscriptionID) + "]"
		}}
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		<-outage(t, f)
		for _, kind := range []string{"events", "statuses"} {
			if own, foreign := got.has("own "+kind), got.has("foreign "+kind); own != 1 || foreign != 0 {
				t.Errorf("%s: the owner's own was handed over %d times, another owner's %d times", kind, own, foreign)
			}
		}
	})
}

// TestAttackAHandlerThatEndsItsGoroutineInABackfillLosesNothing: nor does it cost a
// reader.
func TestAttackAHandlerThatEndsItsGoroutineInABackfillLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(cfg *config) { cfg.Gaps.Concurrent = 1 })
		var got handled
		exits := 3
		f := followed(t, all, &webAPI{answer: oneEach}, func(ctx context.Context, m delivery.Message) error {
			if exits--; exits >= 0 {
				runtime.Goexit()
			}
			return got.handle(ctx, m)
		})
		defer f.Stop()
		filled := outage(t, f)
		select {
		case <-filled:
		case <-time.After(time.Hour):
			t.Error("what was missed is not fetched any more")
		}
		got.mu.Lock()
		defer got.mu.Unlock()
		if len(got.messages) != 2 {
			t.Errorf("handed over %d messages, want an event and a status", len(got.messages))
		}
	})
}

// gapErrors keeps what HookGap is told of failures.
type gapErrors struct {
	mu   sync.Mutex
	errs []error
}

func (g *gapErrors) on(cfg *config) { cfg.OnGap = g.OnGap }

func (g *gapErrors) OnGap(e GapEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Err != nil {
		g.errs = append(g.errs, e.Err)
	}
}

// TestAttackAPanicOfABackfillsHandlerIsToldEscapedAndCut: hooks and logs get its error.
func TestAttackAPanicOfABackfillsHandlerIsToldEscapedAndCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook, panics := new(gapErrors), 1
		all := pushing(t, func(cfg *config) { hook.on(cfg) })
		var got handled
		f := followed(t, all, &webAPI{answer: oneEach}, func(ctx context.Context, m delivery.Message) error {
			if panics--; panics >= 0 {
				panic("what is \x1b[31m\n" + strings.Repeat("x", 100_000))
			}
			return got.handle(ctx, m)
		})
		defer f.Stop()
		<-outage(t, f)
		hook.mu.Lock()
		defer hook.mu.Unlock()
		if len(hook.errs) != 1 {
			t.Fatalf("told of %d failures", len(hook.errs))
		}
		if told := hook.errs[0].Error(); !strings.Contains(told, "panicked") || strings.ContainsFunc(told, func(r rune) bool { return !unicode.IsPrint(r) }) || len(told) > 500 {
			t.Errorf("told %d bytes: %.500q", len(told), told)
		}
	})
}

// TestAttackABackfillThatFailsRemembersABoundedNumberOfEvents: a provider may have as
// many as it likes, and then fail.
func TestAttackABackfillThatFailsRemembersABoundedNumberOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = maxHandedOver + 5000
		var list strings.Builder
		for i := range events {
			fmt.Fprintf(&list, `,{"message_id":"%d"}`, i)
		}
		down, lists := true, []string{list.String()[1:]}
		all, api := pushing(t, nil), withoutStatuses(&down, &lists)
		calls := 0
		f := followed(t, all, api, func(context.Context, delivery.Message) error { calls++; return nil })
		defer f.Stop()
		filled := outage(t, f)
		pass(time.Second)
		f.turn.lock()
		if n := len(f.gap.handed); n > maxHandedOver || calls < events {
			t.Errorf("%d of %d events are remembered, after %d calls", n, events, calls)
		}
		f.turn.unlock()
		api.change(func() { down = false })
		<-filled
	})
}

// TestAttackAnOutageIsStoredInAFewWords: a broker may have caused it, and given a reason
// of any length.
func TestAttackAnOutageIsStoredInAFewWords(t *testing.T) {
	for _, cause := range []string{strings.Repeat("x", 100_000), strings.Repeat("\u20ac", 100_000)} {
		why := whyGap(push.Subscribed{Last: errors.New(cause), SessionPresent: true})
		if len(why) > 2*maxWhyBytes || !utf8.ValidString(why) || !strings.Contains(why, "it had kept the session") {
			t.Errorf("%d bytes: %.300q", len(why), why)
		}
	}
}
