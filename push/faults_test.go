package push_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// boxed is one owner of a provider in a box, and its connection's configuration.
func boxed(t *testing.T) (*fdstest.Provider, fdstest.Owner, push.Config) {
	t.Helper()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{{Spelling: strings.ToUpper(fds.NewSubscriptionID().String())}}})
	o := p.Owners()[0]
	certificate, err := p.OwnerCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	root, err := fds.ParseRoot(o.Spelling)
	if err != nil {
		t.Fatal(err)
	}
	return p, o, push.Config{
		Issuer: p.Issuer(), Root: root,
		BrokerURL: p.BrokerURL(), Roots: realtest.Trusting(p.RootCAs()), Certificate: source(&certificate.TLS),
		Settings: push.Settings{KeepAlive: time.Second, ConnectTimeout: time.Second, Backoff: push.Backoff{Initial: 20 * time.Millisecond, Max: 200 * time.Millisecond, Slow: 200 * time.Millisecond}},
	}
}

func TestEveryFaultOfABrokerIsReportedAndSurvived(t *testing.T) {
	t.Parallel()
	phase := func(phases ...push.Phase) func(push.State) bool {
		return func(s push.State) bool {
			for _, p := range phases {
				if s.Phase == p && s.Err != nil {
					return true
				}
			}
			return false
		}
	}
	large := []byte(`"` + strings.Repeat("x", 2<<20) + `"`)
	for name, c := range map[string]struct {
		fault   func(o fdstest.Owner) fdstest.Fault
		provoke func(t *testing.T, p *fdstest.Provider, o fdstest.Owner) // after the fault is on
		shows   func(push.State) bool
		class   error
		says    string
	}{
		"connections refused": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.RefuseConnections(o) }, provoke: drop,
			shows: phase(push.BackingOff), class: fds.ErrConnectionClosed, says: "connect to",
		},
		"refused before TLS": {
			fault: func(fdstest.Owner) fdstest.Fault { return fdstest.RefuseConnections() }, provoke: drop,
			shows: phase(push.BackingOff), says: "connect to",
		},
		"banned": {
			fault:   func(o fdstest.Owner) fdstest.Fault { return fdstest.AnswerConnect(fdstest.Connack{Code: 0x8A}, o) },
			provoke: drop, shows: phase(push.Denied), class: fds.ErrBrokerDenied,
		},
		"a client ID assigned": {
			fault: func(o fdstest.Owner) fdstest.Fault {
				return fdstest.AnswerConnect(fdstest.Connack{AssignedClientID: "x"}, o)
			},
			provoke: drop, shows: phase(push.BackingOff), class: fds.ErrProtocol,
		},
		"a late CONNACK": {
			fault: func(o fdstest.Owner) fdstest.Fault {
				return fdstest.AnswerConnect(fdstest.Connack{Delay: time.Minute}, o)
			},
			provoke: drop, shows: phase(push.BackingOff), class: context.DeadlineExceeded,
		},
		"subscriptions denied": {
			fault:   func(o fdstest.Owner) fdstest.Fault { return fdstest.DenySubscriptions(0x87, o) },
			provoke: drop, shows: phase(push.Denied), class: fds.ErrBrokerDenied,
		},
		"silence": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.SilentBroker(o) },
			shows: phase(push.BackingOff), class: fds.ErrUnresponsive,
		},
		"a large packet": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.LargePackets(o) },
			provoke: func(t *testing.T, p *fdstest.Provider, o fdstest.Owner) {
				if err := p.Publish(t.Context(), o, []string{"large"}, large, 0, false); err != nil {
					t.Fatal(err)
				}
			},
			shows: phase(push.BackingOff), class: fds.ErrPacketTooLarge,
		},
		"a packet cut in half": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.CutNextPublish(o) },
			provoke: func(t *testing.T, p *fdstest.Provider, o fdstest.Owner) {
				if err := p.Publish(t.Context(), o, []string{"cut"}, []byte(`"cut"`), 1, false); err != nil {
					t.Fatal(err)
				}
			},
			shows: phase(push.BackingOff), class: fds.ErrConnectionClosed,
		},
		"sessions lost": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.LoseSessions(o) },
			shows: phase(push.BackingOff), class: fds.ErrConnectionClosed,
		},
		"shutting down": {
			fault: func(o fdstest.Owner) fdstest.Fault { return fdstest.Disconnect(0x8B, "upgrade", "", o) },
			shows: phase(push.BackingOff),
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, o, cfg := boxed(t)
			got := newCollector()
			r := start(t, cfg, got.handle)
			r.waitPhase(push.Connected)
			off := p.Inject(c.fault(o))
			if c.provoke != nil {
				c.provoke(t, p, o)
			}
			s := r.waitState(func(s push.State) bool {
				return c.shows(s) && (c.class == nil || errors.Is(s.Err, c.class)) && strings.Contains(s.Err.Error(), c.says)
			})
			t.Log(s.Err)
			off()
			r.waitPhase(push.Connected)
			if err := p.Publish(t.Context(), o, []string{"after"}, []byte(`"after"`), 1, false); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(testTimeout); ; {
				if messages := payloads(got.all()); len(messages) > 0 && messages[len(messages)-1] == `"after"` {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("after the fault came %q", messages)
				}
				time.Sleep(time.Millisecond)
			}
			if n := p.Subscriber(o).Forbidden; n != 0 {
				t.Errorf("%d messages were published", n)
			}
		})
	}
}

func drop(t *testing.T, p *fdstest.Provider, o fdstest.Owner) {
	p.Inject(fdstest.DropConnections(o))
}

func TestAnIdleConnectionCostsThreeGoroutines(t *testing.T) {
	const connections = 20
	b := mosquitto(t)
	before := runtime.NumGoroutine()
	for range connections {
		owner, root := newOwner()
		start(t, b.config(owner, root), discard(t)).waitPhase(push.Connected)
	}
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		each := float64(runtime.NumGoroutine()-before) / connections
		if each <= 3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%.1f goroutines for each connection", each)
		}
	}
}
