package push_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// TestAFenceThatClosesLeavesTheRestToTheBroker, whether it closes before a message is handed over
// or before it is acknowledged: Run ends, what is unacknowledged stays so, and the session is kept.
func TestAFenceThatClosesLeavesTheRestToTheBroker(t *testing.T) {
	errLease := errors.New("the lease is over")
	for name, test := range map[string]struct {
		asked   int64 // from which question on it is closed, the one before the connect not counted
		panics  bool
		want    []string // handed over
		acked   []uint16
		attempt int // that fail
	}{
		"at the beginning":                      {asked: 1},
		"between hand-over and ack":             {asked: 2, want: []string{"1"}},
		"before the second message":             {asked: 3, want: []string{"1"}, acked: []uint16{1}},
		"between hand-over and second ack":      {asked: 4, want: []string{"1", "2"}, acked: []uint16{1}},
		"by a panic":                            {asked: 2, panics: true, want: []string{"1"}},
		"before a message is handed over again": {asked: 2, attempt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var acked []uint16
				var goodbye *packets.Disconnect
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					p.publish(1, false, "events", "1")
					p.publish(2, false, "events", "2")
					p.publish(0, false, "events", "3")
					for packet := p.next(); packet != nil; packet = p.next() {
						switch content := packet.Content.(type) {
						case *packets.Puback:
							acked = append(acked, content.PacketID)
						case *packets.Disconnect:
							goodbye = content
						}
					}
				})
				cfg := b.config()
				var asked, letters atomic.Int64
				cfg.Fence = func() error {
					switch {
					case asked.Add(1)-1 != test.asked: // that it opens again changes nothing
						return nil
					case test.panics:
						panic(errLease)
					}
					return errLease
				}
				cfg.MaxAttempts = 2
				cfg.DeadLetter = func(context.Context, delivery.Message, error) error { letters.Add(1); return nil }
				got := newCollector()
				got.fail = func(_ delivery.Message, n int) error {
					if n < test.attempt {
						return errNotNow
					}
					return nil
				}
				r := start(t, cfg, got.handle)
				err := r.wait()
				if !errors.Is(err, fds.ErrFenced) || !errors.Is(err, errLease) != test.panics || !strings.Contains(err.Error(), "lease is over") {
					t.Errorf("Run returns %v", err)
				}
				if s := r.State(); s.Phase != push.Stopped || !errors.Is(s.Err, fds.ErrFenced) {
					t.Errorf("the state is %+v", s)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				var handed []string
				for _, m := range got.all() {
					handed = append(handed, string(m.Payload))
				}
				if !slices.Equal(handed, test.want) || !slices.Equal(acked, test.acked) || letters.Load() != 0 {
					t.Errorf("handed over %q, acknowledged %v, %d dead letters", handed, acked, letters.Load())
				}
				if goodbye == nil || goodbye.Properties.SessionExpiryInterval != nil {
					t.Errorf("the broker is told %+v", goodbye)
				}
				if asked.Load()-1 != test.asked {
					t.Errorf("it was asked %d times", asked.Load())
				}
			})
		})
	}
}

// TestAFenceIsAskedBeforeADeadLetterIsHandedOver: the function for those is the application's too.
func TestAFenceIsAskedBeforeADeadLetterIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", "1")
			p.stay() // which fails on a PUBACK
		})
		cfg := b.config()
		var closed atomic.Bool
		cfg.Fence = func() error {
			if closed.Load() {
				return errNotNow
			}
			return nil
		}
		cfg.MaxAttempts = 1
		cfg.DeadLetter = func(context.Context, delivery.Message, error) error {
			t.Error("it is handed over")
			return nil
		}
		r := start(t, cfg, func(context.Context, delivery.Message) error {
			closed.Store(true)
			return errNotNow
		})
		if err := r.wait(); !errors.Is(err, fds.ErrFenced) {
			t.Error(err)
		}
	})
}

// TestAFenceHoldsForBatches, before a batch and before its acknowledgement.
func TestAFenceHoldsForBatches(t *testing.T) {
	errLease := errors.New("the lease is over")
	for name, test := range map[string]struct {
		asked   int64 // from which question on it is closed, the one before the connect not counted
		calls   int   // of the handler
		handed  string
		acked   []uint16
		verdict bool // it fails on the second of two
		whole   bool // it fails on the whole
	}{
		"at the beginning":             {asked: 1},
		"between hand-over and ack":    {asked: 2, calls: 1, handed: "1 2"},
		"before the second batch":      {asked: 3, calls: 1, handed: "1 2", acked: []uint16{1, 2}},
		"before a half of a batch":     {asked: 2, calls: 1, whole: true},
		"before one that failed":       {asked: 3, calls: 1, handed: "1", verdict: true, acked: []uint16{1}},
		"before it is in dead letters": {asked: 3, calls: 2, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var acked []uint16
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					for n := range uint16(4) {
						p.publish(n+1, false, "events", string(rune('1'+n)))
					}
					for packet := p.next(); packet != nil; packet = p.next() {
						if ack, ok := packet.Content.(*packets.Puback); ok {
							acked = append(acked, ack.PacketID)
						}
					}
				})
				cfg := b.config()
				var asked atomic.Int64
				cfg.Fence = func() error {
					if asked.Add(1)-1 == test.asked {
						return errLease
					}
					return nil
				}
				cfg.MaxAttempts = 1
				if test.verdict {
					cfg.MaxAttempts = 2
				}
				cfg.DeadLetter = func(context.Context, delivery.Message, error) error {
					t.Error("it goes to the dead letters")
					return nil
				}
				connection, err := push.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				calls := 0
				var handed []string
				err = connection.RunBatches(t.Context(), &delivery.Batching{Most: 2, Handler: func(_ context.Context, batch []delivery.Message) error {
					if calls++; test.whole {
						return errNotNow
					}
					for i, m := range batch {
						if i == 1 && test.verdict {
							return delivery.Verdicts{nil, errNotNow}
						}
						handed = append(handed, string(m.Payload))
					}
					return nil
				}})
				if !errors.Is(err, fds.ErrFenced) || !errors.Is(err, errLease) {
					t.Errorf("RunBatches returns %v", err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := strings.Join(handed, " "); got != test.handed || calls != test.calls || !slices.Equal(acked, test.acked) {
					t.Errorf("%d calls, handed over %q, acknowledged %v", calls, got, acked)
				}
				if asked.Load()-1 != test.asked {
					t.Errorf("it was asked %d times", asked.Load())
				}
			})
		})
	}
}

// TestAFenceThatIsClosedLetsNobodyConnect, at first or again: by then another process may have the
// session, which a connect would take over.
func TestAFenceThatIsClosedLetsNobodyConnect(t *testing.T) {
	for _, open := range []int64{0, 1, 3} { // connects
		synctest.Test(t, func(t *testing.T) {
			var connects atomic.Int64
			b := newScripted(t, func(p *peer) {
				connects.Add(1)
				p.accept(false) // and the connection is lost
			})
			cfg := b.config()
			var asked atomic.Int64
			cfg.Fence = func() error {
				if asked.Add(1) > open {
					return errNotNow
				}
				return nil
			}
			r := start(t, cfg, func(context.Context, delivery.Message) error { return nil })
			if err := r.wait(); !errors.Is(err, fds.ErrFenced) || !errors.Is(err, errNotNow) {
				t.Errorf("Run returns %v", err)
			}
			if n := connects.Load(); n != open || asked.Load() != open+1 {
				t.Errorf("it connected %d times, want %d, and was asked %d times", n, open, asked.Load())
			}
			if s := r.State(); s.Phase != push.Stopped || !errors.Is(s.Err, fds.ErrFenced) {
				t.Errorf("the state is %+v", s)
			}
		})
	}
}
