package push_test

import (
	"context"
	"errors"
	"fmt"
	"net"
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

func TestTheConnectSaysWhatFDSAndMQTTDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connect *packets.Connect
		var subscribe *packets.Subscribe
		b := newScripted(t, nil)
		root, err := fds.ParseRoot(strings.ToUpper(b.root.ClientID()))
		if err != nil {
			t.Fatal(err)
		}
		b.script = func(p *peer) {
			connect = p.connack(false, packets.Properties{})
			subscribe = p.suback()
			p.stay()
		}
		cfg := b.config()
		cfg.Root = root
		cfg.Topics = []string{"devices/+/status", "events/#"}
		cfg.SessionExpiry, cfg.KeepAlive, cfg.ReceiveMaximum, cfg.MaxPacketSize = time.Hour, 30*time.Second, 64, 1<<16
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		p := connect.Properties
		switch {
		case connect.ClientID != root.ClientID():
			t.Errorf("client ID %q: it must be spelt as the provider does", connect.ClientID)
		case connect.CleanStart || connect.WillFlag || connect.UsernameFlag || connect.PasswordFlag || connect.KeepAlive != 30 || connect.ProtocolVersion != 5:
			t.Errorf("CONNECT %+v", connect)
		case *p.SessionExpiryInterval != 3600 || *p.ReceiveMaximum != 64 || *p.MaximumPacketSize != 1<<16 || p.TopicAliasMaximum != nil && *p.TopicAliasMaximum != 0:
			t.Errorf("CONNECT properties %v", p)
		case p.RequestProblemInfo != nil && *p.RequestProblemInfo == 0:
			t.Error("CONNECT asks for no problem information")
		}
		for i, below := range cfg.Topics {
			if s := subscribe.Subscriptions[i]; s.Topic != root.String()+below || s.QoS != 1 || s.RetainHandling != 1 || s.RetainAsPublished || s.NoLocal {
				t.Errorf("subscription %d: %+v", i, s)
			}
		}
	})
}

func TestWhatTheBrokerGrantsIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var pings []time.Duration
		b := newScripted(t, func(p *peer) {
			expiry, keepAlive := uint32(600), uint16(5)
			p.connack(true, packets.Properties{SessionExpiryInterval: &expiry, ServerKeepAlive: &keepAlive})
			p.suback(0)
			for len(pings) < 3 {
				p.expect(packets.PINGREQ)
				pings = append(pings, time.Since(began))
				p.send(packets.NewControlPacket(packets.PINGRESP))
			}
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		s := r.waitPhase(push.Connected)
		if !s.SessionPresent || s.SessionExpiry != 10*time.Minute || s.KeepAlive != 5*time.Second || s.Subscriptions[0].QoS != 0 || s.Err != nil {
			t.Errorf("state %+v", s)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for i, at := range pings {
			if most := time.Duration(i+1) * 5 * time.Second; at > most {
				t.Errorf("ping %d came after %v, the broker's keep-alive is 5s", i, at)
			}
		}
		if len(pings) != 3 {
			t.Errorf("pings at %v", pings)
		}
	})
}

func TestAttackABrokerThatReplacesTheClientIDIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{AssignedClientID: "other"})
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "client ID") {
			t.Errorf("error %v", s.Err)
		}
	})
}

func TestAttackABrokerThatGoesSilentWhileConnectingIsLeftInTime(t *testing.T) {
	for name, script := range map[string]func(p *peer){
		"after the handshake": func(p *peer) { p.expect(packets.CONNECT); p.stay() },
		"after CONNACK":       func(p *peer) { p.connack(false, packets.Properties{}); p.expect(packets.SUBSCRIBE); p.stay() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, script)
				cfg := b.config()
				cfg.ConnectTimeout = 7 * time.Second
				checkSilence(t, cfg)
			})
		})
	}
	t.Run("before the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg := newScripted(t, nil).config()
			cfg.ConnectTimeout = 7 * time.Second
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				client, server := net.Pipe()
				t.Cleanup(func() { _ = server.Close() })
				go func() {
					buf := make([]byte, 1<<10)
					for {
						if _, err := server.Read(buf); err != nil {
							return
						}
					}
				}()
				return client, nil
			}
			checkSilence(t, cfg)
		})
	})
	t.Run("before TCP is up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg := newScripted(t, nil).config()
			cfg.ConnectTimeout = 7 * time.Second
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			checkSilence(t, cfg)
		})
	})
}

func checkSilence(t *testing.T, cfg push.Config) {
	t.Helper()
	began := time.Now()
	r := start(t, cfg, discard(t))
	s := r.waitPhase(push.BackingOff)
	if took := time.Since(began); took < cfg.ConnectTimeout || took > cfg.ConnectTimeout+2*time.Second {
		t.Errorf("left after %v", took)
	}
	if text := s.Err.Error(); !errors.Is(s.Err, context.DeadlineExceeded) || strings.Count(text, "push: ") != 1 || !strings.Contains(text, "not answer") {
		t.Errorf("error %v", s.Err)
	}
}

func TestARefusedFilterIsReportedAndTheOthersWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{})
			p.suback(1, 0x87)
			p.publish(1, false, "a/x", `"x"`)
			p.puback(1)
			p.stay()
		})
		cfg := b.config()
		cfg.Topics = []string{"a/#", "b/#"}
		got := newCollector()
		r := start(t, cfg, got.handle)
		s := r.waitPhase(push.Connected)
		var refused *push.ReasonError
		if !errors.Is(s.Err, fds.ErrBrokerDenied) || !errors.As(s.Err, &refused) || refused.Code != 0x87 || refused.Packet != "SUBACK" || refused.Filter != b.root.String()+"b/#" {
			t.Errorf("error %v", s.Err)
		}
		if s.Subscriptions[0].Err != nil || s.Subscriptions[1].Err == nil {
			t.Errorf("subscriptions %+v", s.Subscriptions)
		}
		got.wait(t, 1)
	})
}

func TestAttackASUBACKOfTheWrongLengthIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{})
			subscribe := p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe)
			p.send(&packets.Suback{PacketID: subscribe.PacketID, Properties: &packets.Properties{}})
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrProtocol) {
			t.Errorf("error %v", s.Err)
		}
	})
}

func TestABrokerWithoutWildcardsSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			none := byte(0)
			p.connack(false, packets.Properties{WildcardSubAvailable: &none})
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		if s := r.waitPhase(push.Denied); !errors.Is(s.Err, fds.ErrBrokerDenied) || !strings.Contains(s.Err.Error(), "without + and #") {
			t.Errorf("error %v", s.Err)
		}
	})
}

func TestNothingIsSubscribedThatCouldNotBeSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{})
			if p.n == 1 {
				p.stay() // which fails on a SUBSCRIBE
				return
			}
			p.suback()
			p.stay()
		})
		cfg := b.config()
		full := errors.New("the disk is full")
		cfg.SaveSubscribed = func(context.Context, []string) error {
			err := full
			full = nil
			return err
		}
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.BackingOff); s.Err == nil || !strings.Contains(s.Err.Error(), "the disk is full") {
			t.Errorf("error %v", s.Err)
		}
		r.waitPhase(push.Connected)
	})
}

func TestAFilterThatTheBrokerKeepsIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			unsubscribe := p.expect(packets.UNSUBSCRIBE).Content.(*packets.Unsubscribe)
			code := byte(0x83)
			if p.n == 2 {
				code = 0x11
			}
			p.send(&packets.Unsuback{PacketID: unsubscribe.PacketID, Reasons: []byte{code}, Properties: &packets.Properties{}})
			p.suback()
			if p.n == 1 {
				time.Sleep(time.Second)
				p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown, Properties: &packets.Properties{}})
				return
			}
			p.stay()
		})
		cfg := b.config()
		old := b.root.String() + "old/#"
		cfg.Subscribed = []string{old}
		var saved []string
		cfg.SaveSubscribed = func(_ context.Context, filters []string) error {
			saved = append(saved, fmt.Sprint(len(filters)))
			return nil
		}
		r := start(t, cfg, discard(t))
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		if got := strings.Join(saved, " "); got != "2 1" {
			t.Errorf("saved lists of %s filters", got)
		}
	})
}

func TestOnStateIsToldBeforeTheFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.publish(1, false, "events", `"early"`)
			p.publish(0, false, "events", `"early too"`)
			time.Sleep(time.Second)
			p.suback()
			p.puback(1)
			p.stay()
		})
		var told atomic.Bool
		cfg := b.config()
		handled := make(chan bool, 2)
		connection, err := push.New(withState(cfg, func(s push.State) { told.Store(s.Phase == push.Connected) }))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- connection.Run(ctx, func(context.Context, delivery.Message) error {
				handled <- told.Load()
				return nil
			})
		}()
		for range 2 {
			if !<-handled {
				t.Error("a message was handed over before Connected was told")
			}
		}
		cancel()
		<-done
	})
}

func withState(cfg push.Config, f func(push.State)) push.Config {
	cfg.OnState = f
	return cfg
}

func TestOneRunAtATimeAndAgainAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		r := start(t, b.config(), discard(t))
		r.waitPhase(push.Connected)
		if err := r.Run(t.Context(), discard(t)); !errors.Is(err, fds.ErrRunning) {
			t.Errorf("second Run: %v", err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx, discard(t)) }()
		r.waitPhase(push.Connected)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("third Run: %v", err)
		}
		if err := r.Run(t.Context(), nil); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("without a handler: %v", err)
		}
	})
}

func TestEachPacketIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		counted := make(chan struct{})
		b := newScripted(t, nil)
		b.wrap = func(c net.Conn) net.Conn { return countedConn{c, &writes} }
		b.script = func(p *peer) {
			p.accept(false)
			before := writes.Load()
			for id := range uint16(10) {
				p.publish(id+1, false, "events", `"x"`)
				p.puback(id + 1)
			}
			if got := writes.Load() - before; got != 10 {
				t.Errorf("%d writes for 10 acknowledgements", got)
			}
			close(counted)
			p.stay()
		}
		start(t, b.config(), newCollector().handle)
		<-counted
	})
}

type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestTheSharedLimitIsWaitedForBeforeEachDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if p.n < 3 {
				return
			}
			p.accept(false)
			p.stay()
		})
		cfg := b.config()
		cfg.Limit = &fds.Limit{PerSecond: 0.1, Burst: 1}
		if err := cfg.Limit.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := time.Now()
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		dials := b.dialled()
		for _, at := range dials {
			if at.Sub(last) < 9*time.Second {
				t.Errorf("a dial %v after the turn before", at.Sub(last))
			}
			last = at
		}
		if len(dials) != 3 {
			t.Errorf("%d dials", len(dials))
		}
	})
}

func TestAConnectHasItsPlaceUntilTheBrokerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &fds.Limit{Concurrent: 1}
		answer := make(chan struct{})
		slow := newScripted(t, func(p *peer) {
			<-answer
			p.accept(false)
			p.stay()
		})
		quick := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		first, second := slow.config(), quick.config()
		first.Limit, second.Limit = limit, limit
		a := start(t, first, discard(t))
		synctest.Wait()
		b := start(t, second, discard(t))
		time.Sleep(10 * time.Second)
		if n := len(quick.dialled()); n != 0 {
			t.Errorf("dialled %d times while the one place was taken", n)
		}
		close(answer)
		a.waitPhase(push.Connected)
		b.waitPhase(push.Connected)
	})
}

func TestEndingASessionFromOutsideAsksForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connect *packets.Connect
		var goodbye *packets.Disconnect
		b := newScripted(t, func(p *peer) {
			connect = p.connack(false, packets.Properties{})
			goodbye = p.stay()
		})
		cfg := b.config()
		cfg.Subscribed = []string{b.root.String() + "#"}
		var saved [][]string
		cfg.SaveSubscribed = func(_ context.Context, filters []string) error {
			saved = append(saved, filters)
			return nil
		}
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.peers.Wait()
		if !connect.CleanStart || *connect.Properties.SessionExpiryInterval != 0 || goodbye == nil || goodbye.ReasonCode != 0 {
			t.Errorf("CONNECT %+v %v, DISCONNECT %v", connect, connect.Properties, goodbye)
		}
		if len(saved) != 1 || len(saved[0]) != 0 {
			t.Errorf("saved %v", saved)
		}
	})
	t.Run("an unreachable broker is an error", func(t *testing.T) {
		cfg := newScripted(t, nil).config()
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.EndSession(t.Context()); err == nil || !strings.Contains(err.Error(), "no network") {
			t.Errorf("error %v", err)
		}
	})
}

func TestARefusedFilterIsNotForgottenForAForeignMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{})
			p.suback(1, 0x87)
			time.Sleep(time.Second)
			p.send(&packets.Publish{Topic: "fds/v2/other", Properties: &packets.Properties{}})
			p.stay()
		})
		cfg := b.config()
		cfg.Topics = []string{"a", "b"}
		r := start(t, cfg, discard(t))
		r.waitState(func(s push.State) bool { return s.Foreign == 1 })
		synctest.Wait()
		if s := r.State(); !errors.Is(s.Err, fds.ErrBrokerDenied) {
			t.Errorf("error %v", s.Err)
		}
		r.stop()
	})
}
