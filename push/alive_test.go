package push_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// mustNotSpin ends the tests when what follows takes half a minute by a real clock: a
// timer that is due at once, again and again, stops that of a bubble. Call it outside.
func mustNotSpin(t *testing.T) {
	t.Helper()
	limit := time.AfterFunc(30*time.Second, func() { panic(t.Name() + " spins") })
	t.Cleanup(func() { limit.Stop() })
}

func TestADeadConnectionIsFoundWithinOneAndAHalfKeepAlives(t *testing.T) {
	const keepAlive = 20 * time.Second
	for name, silence := range map[string]func(p *peer){
		"though it takes what we send": func(p *peer) { _, _ = io.Copy(io.Discard, p.conn) },
		"and takes nothing":            func(p *peer) { time.Sleep(time.Hour) },
	} {
		for _, handler := range []string{"idle", "blocked"} {
			t.Run(name+", handler "+handler, func(t *testing.T) {
				mustNotSpin(t)
				synctest.Test(t, func(t *testing.T) {
					var last atomic.Pointer[time.Time]
					b := newScripted(t, func(p *peer) {
						p.accept(false)
						if p.n > 1 {
							p.stay()
							return
						}
						time.Sleep(3 * time.Second)
						p.publish(1, false, "events", `"x"`)
						now := time.Now()
						last.Store(&now)
						if handler == "idle" {
							p.puback(1)
						}
						silence(p)
					})
					cfg := b.config()
					cfg.KeepAlive, cfg.WriteTimeout = keepAlive, time.Minute
					finish := make(chan struct{})
					if handler == "idle" {
						close(finish)
					} else {
						defer close(finish)
					}
					got := newCollector()
					r := start(t, cfg, func(ctx context.Context, m delivery.Message) error {
						<-finish
						return got.handle(ctx, m)
					})
					r.waitPhase(push.Connected)
					s := r.waitPhase(push.BackingOff)
					if took := s.Since.Sub(*last.Load()); took > keepAlive*3/2 || took < keepAlive {
						t.Errorf("found after %v", took)
					}
					if !errors.Is(s.Err, fds.ErrUnresponsive) {
						t.Errorf("error %v", s.Err)
					}
					r.waitPhase(push.Connected) // though the handler may still block
				})
			})
		}
	}
}

func TestABrokerThatAllowsLongSilenceIsWatchedAsConfigured(t *testing.T) {
	const keepAlive = 20 * time.Second
	synctest.Test(t, func(t *testing.T) {
		longest := uint16(65535)
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{ServerKeepAlive: &longest})
			p.suback()
			if p.n > 1 {
				p.stay()
				return
			}
			_, _ = io.Copy(io.Discard, p.conn)
		})
		cfg := b.config()
		cfg.KeepAlive = keepAlive
		r := start(t, cfg, discard(t))
		up := r.waitPhase(push.Connected)
		if want := time.Duration(longest) * time.Second; up.KeepAlive != want {
			t.Errorf("the state says %v, the broker %v", up.KeepAlive, want)
		}
		if s := r.waitPhase(push.BackingOff); s.Since.Sub(up.Since) > keepAlive*3/2 || !errors.Is(s.Err, fds.ErrUnresponsive) {
			t.Errorf("found after %v: %v", s.Since.Sub(up.Since), s.Err)
		}
	})
}

func TestAnIdleConnectionStaysUpForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keepAlive = time.Minute
		var pings atomic.Int32
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for {
				at := time.Now()
				packet := p.next()
				if d := time.Since(at); d > keepAlive {
					t.Errorf("the client was silent for %v", d)
				}
				if packet == nil || packet.Type != packets.PINGREQ {
					return
				}
				pings.Add(1)
				p.send(packets.NewControlPacket(packets.PINGRESP))
			}
		})
		r := start(t, b.config(), discard(t))
		r.waitPhase(push.Connected)
		time.Sleep(48 * time.Hour)
		if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
			t.Errorf("state %+v", s)
		}
		if n := pings.Load(); n < 48*60 || n > 48*60*8/6+1 {
			t.Errorf("%d pings in 48 hours", n)
		}
	})
}

// Of owners who connect at the same moment each pings at its own.
func TestPingsOfManyOwnersAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners, keepAlive = 64, 80 * time.Second
		began := time.Now()
		pings := make(chan time.Duration, owners)
		for range owners {
			b := newScripted(t, func(p *peer) {
				p.accept(false)
				p.expect(packets.PINGREQ)
				pings <- time.Since(began)
				p.stay()
			})
			cfg := b.config()
			cfg.KeepAlive = keepAlive
			start(t, cfg, discard(t)).waitPhase(push.Connected)
		}
		seconds := make(map[time.Duration]int)
		for range owners {
			at := <-pings
			if at < keepAlive*6/8-time.Second || at > keepAlive*7/8 {
				t.Errorf("a ping after %v", at)
			}
			seconds[at.Truncate(time.Second)]++
		}
		for at, n := range seconds {
			if n > owners/3 {
				t.Errorf("%d of %d pings within the second after %v", n, owners, at)
			}
		}
	})
}

func TestTrafficOneWayStillPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pinged := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			go func() {
				p.expect(packets.PINGREQ)
				close(pinged)
				p.stay()
			}()
			for { // nothing to acknowledge, so the client would fall silent
				p.publish(0, false, "events", `"x"`)
				time.Sleep(time.Second)
			}
		})
		r := start(t, b.config(), newCollector().handle)
		r.waitPhase(push.Connected)
		select {
		case <-pinged:
		case <-time.After(time.Minute):
			t.Error("no ping within the keep-alive time: a broker would have closed the connection")
		}
	})
}

func TestAttackABrokerThatStopsReadingIsLeftWithinTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			last = time.Now()
			p.publish(1, false, "events", `"x"`)
			time.Sleep(time.Hour) // the PUBACK finds no taker
		})
		cfg := b.config()
		cfg.WriteTimeout = 5 * time.Second
		r := start(t, cfg, newCollector().handle)
		s := r.waitPhase(push.BackingOff)
		var timeout net.Error
		if took := s.Since.Sub(last); took > 6*time.Second || !errors.As(s.Err, &timeout) || !timeout.Timeout() {
			t.Errorf("left after %v: %v", took, s.Err)
		}
	})
}

func TestADisconnectFindsABrokerThatStillSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan byte, 1)
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			stop := make(chan struct{})
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for {
					select {
					case <-stop:
						return
					default:
						m := &packets.Publish{Topic: p.root.String() + "events", Payload: []byte(`"x"`), Properties: &packets.Properties{}}
						if _, err := m.WriteTo(p.conn); err != nil {
							return
						}
						time.Sleep(time.Millisecond)
					}
				}
			}()
			d := p.stay()
			close(stop)
			<-sent
			if d != nil {
				told <- d.ReasonCode
			}
		})
		got := newCollector()
		r := start(t, b.config(), got.handle)
		got.wait(t, 10)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		select {
		case code := <-told:
			if code != 0 {
				t.Errorf("DISCONNECT 0x%02X", code)
			}
		default:
			t.Error("the broker saw no DISCONNECT")
		}
	})
}

func TestALargePacketOnASlowNetworkIsNotTakenForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 500 << 10
		b := newScripted(t, nil)
		b.script = func(p *peer) {
			p.accept(false)
			var packet bytes.Buffer
			m := &packets.Publish{Topic: p.root.String() + "events", PacketID: 1, QoS: 1, Payload: bytes.Repeat([]byte("x"), size), Properties: &packets.Properties{}}
			if _, err := m.WriteTo(&packet); err != nil {
				p.fatal("%v", err)
			}
			sent := make(chan struct{})
			defer func() { <-sent }()
			go func() { // the answers to pings wait behind the packet
				defer close(sent)
				for packet.Len() > 0 {
					p.sendRaw(packet.Next(10 << 10)...)
					time.Sleep(time.Second)
				}
			}()
			for {
				if packet := p.next(); packet == nil || packet.Type == packets.PUBACK {
					break
				}
			}
			p.stay()
		}
		cfg := b.config()
		cfg.KeepAlive = 10 * time.Second
		got := newCollector()
		r := start(t, cfg, got.handle)
		if m := got.wait(t, 1)[0]; len(m.Payload) != size {
			t.Errorf("got %v", m)
		}
		if s := r.State(); s.Connects != 1 {
			t.Errorf("%d connections were needed", s.Connects)
		}
	})
}
