package push_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func publishPacket(topic string, payload []byte, qos byte, retain bool) *paho.Publish {
	return &paho.Publish{Topic: topic, Payload: payload, QoS: qos, Retain: retain}
}

func TestMessagesArriveInOrderWithAllThatIsKnownOfThem(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		got := newCollector()
		r := start(t, b.config(owner, root), got.handle)
		state := r.waitPhase(push.Connected)
		if state.SessionPresent || state.Connects != 1 || len(state.Subscriptions) != 1 || state.Subscriptions[0].Filter != root.String()+"#" || state.Subscriptions[0].QoS != 1 {
			t.Errorf("first connection: %+v", state)
		}
		for i := range 100 {
			b.mustPublish(t, root, fmt.Sprintf("devices/d%d/status", i%7), fmt.Sprintf(`{"n":%d}`, i))
		}
		messages := got.wait(t, 100)
		if want := numbered(0, 100); !slices.Equal(payloads(messages), want) {
			t.Errorf("got %v", payloads(messages))
		}
		m := messages[8]
		if m.Owner != owner || m.Topic != root.String()+"devices/d1/status" || strings.Join(m.Levels, "/") != "devices/d1/status" || m.QoS != 1 || m.Retained || m.Duplicate || m.Source != delivery.FromPush || time.Since(m.ReceivedAt) > time.Minute {
			t.Errorf("message 8: %+v", m)
		}
		if item, err := m.Item(); err != nil || string(item.Raw()) != `{"n":8}` {
			t.Errorf("its item: %v, %v", item, err)
		}
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := r.State(); s.Phase != push.Stopped || s.Err != nil {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

func TestAMessageIsHandedOverAgainUntilTheHandlerSucceedsBeforeAnyOther(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		got := newCollector()
		got.fail = func(m delivery.Message, n int) error {
			switch {
			case n == 1:
				return errNotNow
			case n == 2:
				panic("a defect of the handler")
			case (n > 1) != m.Duplicate && n < 4:
				return fmt.Errorf("call %d has Duplicate %v", n, m.Duplicate)
			}
			return nil
		}
		r := start(t, b.config(owner, root), got.handle)
		r.waitPhase(push.Connected)
		for i := range 3 {
			b.mustPublish(t, root, "events", fmt.Sprintf(`{"n":%d}`, i))
		}
		if messages := payloads(got.wait(t, 3)); !slices.Equal(messages, numbered(0, 3)) {
			t.Errorf("got %v", messages)
		}
		got.mu.Lock()
		defer got.mu.Unlock()
		if got.calls != 5 {
			t.Errorf("%d calls of the handler, want 5: three messages, an error and a panic", got.calls)
		}
	})
}

func TestMessagesWaitAtTheBrokerWhileTheApplicationIsAway(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		first := start(t, b.config(owner, root), newCollector().handle)
		first.waitPhase(push.Connected)
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			b.mustPublish(t, root, "events", fmt.Sprintf(`{"n":%d}`, i))
		}
		got := newCollector()
		second := start(t, b.config(owner, root), got.handle)
		if s := second.waitPhase(push.Connected); !s.SessionPresent {
			t.Errorf("the broker kept no session: %+v", s)
		}
		if messages := payloads(got.wait(t, 5)); !slices.Equal(messages, numbered(0, 5)) {
			t.Errorf("got %v", messages)
		}
	})
}

func TestAnAcknowledgementIsOutBeforeTheDisconnect(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		atWork, finish := make(chan struct{}), make(chan struct{})
		first := start(t, b.config(owner, root), func(ctx context.Context, m delivery.Message) error {
			close(atWork)
			<-finish
			return nil
		})
		first.waitPhase(push.Connected)
		for i := range 20 {
			b.mustPublish(t, root, "events", fmt.Sprintf(`{"n":%d}`, i))
		}
		<-atWork
		first.cancel()
		close(finish)
		if err := first.wait(); err != nil {
			t.Fatal(err)
		}

		got := newCollector()
		start(t, b.config(owner, root), got.handle)
		messages := got.wait(t, 19)
		if !slices.Equal(payloads(messages), numbered(1, 20)) {
			t.Errorf("after the restart %v, want 1 to 19: message 0 was handled and acknowledged", payloads(messages))
		}
	})
}

func TestNothingIsLostOrReorderedWhenTheBrokerRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		got := newCollector()
		got.fail = func(m delivery.Message, n int) error {
			if n%7 == 3 {
				return errNotNow
			}
			return nil
		}
		cfg := b.config(owner, root)
		cfg.Backoff.StableAfter = time.Millisecond // one ending more would look like a take-over
		r := start(t, cfg, got.handle)
		const rounds, each = 3, 100
		ctx, cancel := context.WithTimeout(context.Background(), 2*testTimeout)
		defer cancel()
		for round := range rounds {
			r.waitState(func(s push.State) bool { return s.Connects > uint64(round) })
			restarted := make(chan struct{})
			for i := range each {
				if i == each/2 {
					go func() {
						defer close(restarted)
						b.restart()
					}()
				}
				payload := []byte(fmt.Sprintf(`{"n":%d}`, round*each+i))
				for { // the provider too repeats what was not acknowledged to it
					attempt, cancel := context.WithTimeout(ctx, time.Second)
					err := b.publish(attempt, root.String()+"events", payload, 1, false)
					cancel()
					if err == nil {
						break
					} else if ctx.Err() != nil {
						t.Fatal(err)
					}
				}
			}
			<-restarted
		}
		deadline := time.After(testTimeout)
		for {
			// A repetition by the provider is a message of its own.
			texts := payloads(got.all())
			slices.Sort(texts)
			if len(slices.Compact(texts)) == rounds*each {
				break
			}
			select {
			case <-deadline:
				t.Fatalf("%d of %d messages arrived; %+v", len(slices.Compact(texts)), rounds*each, r.State())
			case <-time.After(10 * time.Millisecond):
			}
		}
		seen, last := map[string]bool{}, -1
		for _, m := range got.all() {
			var n int
			if _, err := fmt.Sscanf(string(m.Payload), `{"n":%d}`, &n); err != nil {
				t.Fatal(err)
			}
			if !seen[string(m.Payload)] {
				if n != last+1 {
					t.Fatalf("message %d came first after %d", n, last)
				}
				last = n
			}
			seen[string(m.Payload)] = true
		}
		r.waitState(func(s push.State) bool { return s.Connects > rounds })
	})
}

func TestAttackTwoProcessesWithOneOwnerDoNotFight(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		a := start(t, b.config(owner, root), newCollector().handle)
		a.waitPhase(push.Connected)
		z := start(t, b.config(owner, root), newCollector().handle)

		loser, winner := a, z
		for deadline := time.Now().Add(testTimeout); loser.State().Phase != push.TakenOver; loser, winner = winner, loser {
			if time.Now().After(deadline) || a.State().Connects+z.State().Connects > 20 {
				t.Fatalf("both go on: %+v, %+v", a.State(), z.State())
			}
			time.Sleep(10 * time.Millisecond)
		}
		err := loser.State().Err
		var taken *push.TakenOverError
		if !errors.Is(err, fds.ErrTakenOver) || !errors.As(err, &taken) || taken.Owner != owner {
			t.Errorf("the loser: %+v", loser.State())
		}
		if winner.State().Phase != push.Connected {
			winner.waitPhase(push.Connected)
		}
		if n := loser.State().Connects + winner.State().Connects; n >= 10 {
			t.Errorf("%d connects of both together, want fewer than 10", n)
		}
		t.Log(err)
	})
}

func TestFiltersOfAnEarlierRunAreUnsubscribed(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		cfg := b.config(owner, root)
		var saved [][]string
		cfg.SaveSubscribed = func(_ context.Context, filters []string) error {
			saved = append(saved, filters)
			return nil
		}
		cfg.Topics = []string{"old/#", "kept/#"}
		first := start(t, cfg, newCollector().handle)
		first.waitPhase(push.Connected)
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		cfg.Topics, cfg.Subscribed = []string{"kept/#", "new/#"}, saved[len(saved)-1]
		got := newCollector()
		second := start(t, cfg, got.handle)
		second.waitPhase(push.Connected)
		for _, topic := range []string{"old/a", "kept/a", "new/a"} {
			b.mustPublish(t, root, topic, `"`+topic+`"`)
		}
		if messages := payloads(got.wait(t, 2)); !slices.Equal(messages, []string{`"kept/a"`, `"new/a"`}) {
			t.Errorf("got %v", messages)
		}
		full := func(topics ...string) (filters []string) {
			for _, topic := range topics {
				filters = append(filters, root.String()+topic)
			}
			return filters
		}
		want := [][]string{full("old/#", "kept/#"), full("old/#", "kept/#", "new/#"), full("kept/#", "new/#")}
		if err := second.stop(); err != nil || !slices.EqualFunc(saved, want, slices.Equal) {
			t.Errorf("saved %v, want %v; Run: %v", saved, want, err)
		}
	})
}

func TestEndingTheSessionStopsTheBrokersQueue(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"while connected", "while not running"} {
		t.Run(how, func(t *testing.T) {
			eachBroker(t, func(t *testing.T, b broker) {
				ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
				defer cancel()
				owner, root := newOwner()
				r := start(t, b.config(owner, root), newCollector().handle)
				r.waitPhase(push.Connected)
				if how == "while not running" {
					if err := r.stop(); err != nil {
						t.Fatal(err)
					}
				}
				if err := r.EndSession(ctx); err != nil {
					t.Fatal(err)
				}
				if how == "while connected" {
					if err := r.wait(); err != nil {
						t.Errorf("Run: %v", err)
					}
				}
				b.mustPublish(t, root, "events", `"queued"`)
				got := newCollector()
				again := start(t, b.config(owner, root), got.handle)
				if s := again.waitPhase(push.Connected); s.SessionPresent {
					t.Errorf("the broker kept the session: %+v", s)
				}
				b.mustPublish(t, root, "events", `"live"`)
				if messages := payloads(got.wait(t, 1)); !slices.Equal(messages, []string{`"live"`}) {
					t.Errorf("got %v", messages)
				}
			})
		})
	}
}

func TestARetainedMessageComesOnceAndIsMarked(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := b.publish(ctx, root.String()+"status", []byte(`"known"`), 1, true); err != nil {
			t.Fatal(err)
		}
		got := newCollector()
		first := start(t, b.config(owner, root), got.handle)
		if m := got.wait(t, 1)[0]; !m.Retained {
			t.Errorf("first: %+v", m)
		}
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		start(t, b.config(owner, root), got.handle).waitPhase(push.Connected)
		b.mustPublish(t, root, "status", `"news"`)
		if messages := got.wait(t, 2); len(messages) != 2 || string(messages[1].Payload) != `"news"` || messages[1].Retained {
			t.Errorf("second: %v", messages)
		}
	})
}

func TestQualityOfServiceZeroCanBeAskedFor(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		cfg := b.config(owner, root)
		cfg.AtMostOnce = true
		got := newCollector()
		r := start(t, cfg, got.handle)
		r.waitPhase(push.Connected)
		b.mustPublish(t, root, "events", `"x"`)
		if m := got.wait(t, 1)[0]; m.QoS != 0 || string(m.Payload) != `"x"` {
			t.Errorf("got %+v", m)
		}
	})
}

// Mosquitto 2.0.11 then sends at once all that was in flight, before its SUBACK.
func TestALowerReceiveMaximumThanBeforeLocksNoOwnerOut(t *testing.T) {
	const sent = 100
	m := realtest.Mosquitto(t, realtest.MosquittoOptions{Config: []string{"max_queued_messages 0", "max_inflight_messages 0"}})
	owner, root := newOwner()
	certificate := m.IssueCertificate(root.ClientID(), realtest.CertificateOptions{})
	cfg := push.Config{
		Issuer: owner.Issuer, Root: root, BrokerURL: m.URL, Roots: realtest.Trusting(m.RootCAs), Certificate: source(&certificate.TLS),
		Settings: push.Settings{ReceiveMaximum: 1000, DrainTimeout: time.Millisecond, ConnectTimeout: 10 * time.Second}}
	atWork := make(chan struct{}, 1)
	r := start(t, cfg, func(ctx context.Context, _ delivery.Message) error {
		atWork <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	r.waitPhase(push.Connected)
	for _, text := range numbered(0, sent) {
		if err := m.PublishPacket(t.Context(), publishPacket(root.String()+"events", []byte(text), 1, false)); err != nil {
			t.Fatal(err)
		}
	}
	<-atWork
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	cfg.ReceiveMaximum = 4
	got := newCollector()
	r = start(t, cfg, got.handle)
	if s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting }); s.Phase != push.Connected {
		t.Fatalf("state %+v", s)
	}
	if messages := payloads(got.wait(t, sent)); !slices.Equal(messages, numbered(0, sent)) {
		t.Errorf("got %v", messages)
	}
}
