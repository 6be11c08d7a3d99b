package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// named is every hook there is, and notes whom it was told of.
type named struct {
	mu   sync.Mutex
	told map[string][]fds.OwnerKey
}

func (n *named) note(what string, owner fds.OwnerKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told[what] = append(n.told[what], owner)
}

func (n *named) OnConnect(o fds.OwnerKey, _ time.Duration, _ error) { n.note("attempt", o) }
func (n *named) OnHandled(o fds.OwnerKey, _ time.Duration, _ error) { n.note("handled", o) }
func (n *named) OnDiscarded(o fds.OwnerKey, _ error)                { n.note("discarded", o) }
func (n *named) OnSlowHandler(o fds.OwnerKey, _ time.Duration)      { n.note("slow", o) }

func TestEachHookIsToldTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "a", "slow")
			p.puback(1)
			p.send(&packets.Publish{Topic: "not/ours", Properties: &packets.Properties{}})
			p.stay()
		})
		cfg := b.config()
		hooks := &named{told: map[string][]fds.OwnerKey{}}
		cfg.Hooks, cfg.SlowHandler = []any{hooks}, time.Second
		r := start(t, cfg, func(context.Context, delivery.Message) error { time.Sleep(2 * time.Second); return nil })
		time.Sleep(time.Minute)
		r.stop()
		for _, what := range []string{"attempt", "handled", "discarded", "slow"} {
			if told := hooks.told[what]; len(told) != 1 || told[0] != b.owner {
				t.Errorf("%s was told %v", what, told)
			}
		}
	})
}

// An outage of a night is one line, and so is what a connection ends of.
func TestTheLogHasOneLineOfAFactAndNamesTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if p.n == 1 {
				p.accept(false)
				p.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{}})
			}
		})
		cfg := b.config()
		dial, up := cfg.Dial, time.Now().Add(8*time.Hour)
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if time.Now().Before(up) {
				return nil, errors.New("no route")
			}
			return dial(ctx, network, address)
		}
		var out bytes.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		r := start(t, cfg, discard(t))
		time.Sleep(9 * time.Hour)
		if err := r.wait(); !errors.Is(err, fds.ErrTakenOver) {
			t.Fatal(err)
		}
		want := []string{`phase="backing off"`, "push: connected", `phase="taken over"`}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != len(want) {
			t.Fatalf("logged:\n%s", out.String())
		}
		for i, line := range lines {
			whose := fmt.Sprintf("owner.issuer=%s owner.subscription_id=%s", b.owner.Issuer, b.owner.SubscriptionID)
			if !strings.Contains(line, want[i]) || !strings.Contains(line, whose) {
				t.Errorf("line %d is %s", i, line)
			}
		}
	})
}
