package handoff

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

// TestHandsThatShareAWatchAreToldOfTheirOwnCalls has three hands call handlers that take long, and
// one whose handler does not, at moments that lie apart.
func TestHandsThatShareAWatchAreToldOfTheirOwnCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = time.Second
		began, watch := time.Now(), new(Watch)
		type told struct {
			topic    string
			at, took time.Duration
		}
		news := make(chan told, 10)
		finish := make(chan struct{})
		hand := func(h delivery.Handler) *Hand {
			return New(&Settings{Handler: h, SlowAfter: slow, Watch: watch, Logger: slog.New(slog.DiscardHandler),
				Slow: func(m delivery.Message, took time.Duration) { news <- told{m.Topic, time.Since(began), took} }})
		}
		blocked := func(context.Context, delivery.Message) error { <-finish; return nil }
		for i, topic := range []string{"a", "b", "c"} {
			go func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				_, _ = hand(blocked).Once(t.Context(), &delivery.Message{Topic: topic}, 1)
			}()
		}
		quick := hand(func(context.Context, delivery.Message) error { return nil })
		released := make(chan time.Duration, 1)
		reader := hand(blocked)
		reader.OnRelease(func() { released <- time.Since(began) })
		go func() { _, _ = reader.Once(t.Context(), &delivery.Message{Topic: "d"}, 1) }()
		for range 1500 {
			_, _ = quick.Once(t.Context(), &delivery.Message{Topic: "quick"}, 1)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		if at := <-released; at != releaseAfter {
			t.Errorf("released after %v", at)
		}
		got := map[string]told{}
		for range 4 {
			n := <-news
			got[n.topic] = n
		}
		for topic, begin := range map[string]time.Duration{"a": 0, "b": 300 * time.Millisecond, "c": 600 * time.Millisecond, "d": 0} {
			if n := got[topic]; n.at != begin+slow || n.took != slow {
				t.Errorf("%s: told at %v of %v, want %v of %v", topic, n.at, n.took, begin+slow, slow)
			}
		}
		select {
		case n := <-news:
			t.Errorf("told of %+v", n)
		default:
		}
		close(finish)
		synctest.Wait()
		if len(watch.looks) > 0 {
			t.Errorf("%d hands are kept", len(watch.looks))
		}
	})
}

// TestAWatchSetsNoTimerForEachCall: while one is set that is due earlier, none is.
func TestAWatchSetsNoTimerForEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := new(Watch), new(Hand)
		w.look(h, time.Now().Add(time.Second))
		w.forget(h)
		first := w.at
		for range 100 {
			time.Sleep(time.Millisecond)
			w.look(h, time.Now().Add(time.Second))
			w.forget(h)
		}
		if !w.at.Equal(first) {
			t.Error("it was set again")
		}
		w.look(h, time.Now().Add(time.Millisecond))
		if !w.at.Before(first) {
			t.Error("it was not set for one that is due earlier")
		}
		w.forget(h)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.at.IsZero() {
			t.Error("it is set though nobody waits")
		}
	})
}
