package push_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// policy is what a reason code must lead to, written down a second time so that
// a slip in the table shows.
type policy string

const (
	again  policy = "again"  // retried with back-off
	slowly policy = "slowly" // Denied, retried rarely
	stop   policy = "stop"   // Run ends
)

// codes are all the reason codes of errors in MQTT 5.0 section 2.4.
var codes = map[byte]policy{
	0x80: again, 0x81: again, 0x82: again, 0x83: again,
	0x84: slowly, 0x85: slowly, 0x86: slowly, 0x87: slowly,
	0x88: again, 0x89: again, 0x8A: slowly, 0x8B: again, 0x8C: slowly, 0x8D: again,
	0x8E: stop,
	0x8F: slowly, 0x90: again, 0x91: again, 0x92: again, 0x93: again, 0x94: again, 0x95: again,
	0x96: again, 0x97: again, 0x98: again, 0x99: again, 0x9A: again, 0x9B: slowly, 0x9C: again, 0x9D: slowly, 0x9E: slowly,
	0x9F: again, 0xA0: again, 0xA1: slowly, 0xA2: slowly,
	0xA3: again, 0xFF: again, // not assigned
}

func TestEveryReasonCodeHasItsPolicyWhereverItComes(t *testing.T) {
	said := packets.Properties{ReasonString: "the broker's own words"}
	for packet, script := range map[string]func(p *peer, code byte){
		"CONNACK": func(p *peer, code byte) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: code, Properties: &said})
		},
		"SUBACK": func(p *peer, code byte) {
			p.connack(false, packets.Properties{})
			tries := 1
			if code == packets.SubackPacketIdentifierinuse {
				tries = 4
			}
			for range tries {
				subscribe := p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe)
				p.send(&packets.Suback{PacketID: subscribe.PacketID, Reasons: []byte{code}, Properties: &said})
			}
			p.stay()
		},
		"DISCONNECT": func(p *peer, code byte) {
			p.accept(false)
			time.Sleep(time.Second)
			p.send(&packets.Disconnect{ReasonCode: code, Properties: &said})
		},
	} {
		for code, want := range codes {
			t.Run(fmt.Sprintf("%s 0x%02X", packet, code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newScripted(t, func(p *peer) { script(p, code) })
					r := start(t, b.config(), discard(t))
					if want == stop {
						if err := r.wait(); !errors.Is(err, fds.ErrTakenOver) {
							t.Errorf("Run: %v", err)
						}
						return
					}
					s := r.waitState(func(s push.State) bool { return !s.RetryAt.IsZero() })
					var refused *push.ReasonError
					if !errors.As(s.Err, &refused) || refused.Code != code || refused.Packet != packet || !strings.Contains(s.Err.Error(), "the broker's own words") {
						t.Errorf("error %v", s.Err)
					}
					delay := s.RetryAt.Sub(s.Since)
					switch want {
					case again:
						if s.Phase != push.BackingOff || errors.Is(s.Err, fds.ErrBrokerDenied) || delay > 2*time.Second {
							t.Errorf("%s for %v: %v", s.Phase, delay, s.Err)
						}
					case slowly:
						if s.Phase != push.Denied || !errors.Is(s.Err, fds.ErrBrokerDenied) || delay < 2*time.Minute || delay > 5*time.Minute {
							t.Errorf("%s for %v: %v", s.Phase, delay, s.Err)
						}
					}
				})
			})
		}
	}
}

func TestATakeOverStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			time.Sleep(30 * time.Second)
			p.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{}})
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		err := r.wait()
		var taken *push.TakenOverError
		if !errors.As(err, &taken) || taken.Suspected || taken.Owner != b.owner {
			t.Errorf("Run: %v", err)
		}
		if s := r.State(); s.Phase != push.TakenOver || s.Connects != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestOnlyAPatternOfBareEndingsIsASuspectedTakeOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(p *peer) // of each of 8 connections
		taken  bool
	}{
		{"ended soon after coming up", func(p *peer) { p.accept(true); time.Sleep(3 * time.Second) }, true},
		{"ended after a while", func(p *peer) { p.accept(true); time.Sleep(2 * time.Minute) }, false},
		{"ended with a reason", func(p *peer) {
			p.accept(true)
			time.Sleep(3 * time.Second)
			p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerBusy, Properties: &packets.Properties{}})
		}, false},
		{"ended before coming up", func(p *peer) { p.connack(true, packets.Properties{}); p.expect(packets.SUBSCRIBE) }, false},
		{"ended soon, now before coming up and now after", func(p *peer) {
			p.connack(true, packets.Properties{})
			if p.n%2 == 0 {
				p.expect(packets.SUBSCRIBE)
				return
			}
			p.suback()
			time.Sleep(3 * time.Second)
		}, true},
		{"with an attempt between that failed", func(p *peer) {
			if p.n%4 != 0 {
				p.accept(true)
				time.Sleep(3 * time.Second)
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					if p.n <= 8 {
						c.script(p)
						return
					}
					p.accept(true)
					p.stay()
				})
				cfg := b.config()
				cfg.KeepAlive = time.Hour
				r := start(t, cfg, discard(t))
				time.Sleep(2 * time.Minute)
				var taken *push.TakenOverError
				s := r.State()
				if is := errors.As(s.Err, &taken); is != c.taken {
					t.Errorf("state %+v", s)
				}
				if c.taken && (s.Phase != push.TakenOver || !taken.Suspected || taken.Endings != 4 || len(b.dialled()) != 4) {
					t.Errorf("state %+v after %d dials", s, len(b.dialled()))
				}
				if wait := s.RetryAt.Sub(s.Since); c.taken && (wait < 150*time.Second || wait > 5*time.Minute) { // it may be the broker
					t.Errorf("tried again after %v", wait)
				}
				time.Sleep(time.Hour)
				if s := r.State(); s.Phase != push.Connected {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

func TestASuspectedTakeOverIsTriedAgainRarelyAndOneThatTheBrokerNamesIsNot(t *testing.T) {
	const drops, slow = 4, 20 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			if p.n > drops {
				time.Sleep(3 * time.Hour)
				p.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{}})
				p.stay()
			}
		})
		cfg := b.config()
		cfg.KeepAlive, cfg.Backoff.Slow = 10*time.Hour, slow
		r := start(t, cfg, discard(t))
		var taken *push.TakenOverError
		suspected := r.waitPhase(push.TakenOver)
		if !errors.As(suspected.Err, &taken) || !taken.Suspected || taken.Endings != drops {
			t.Errorf("state %+v", suspected)
		}
		if wait := suspected.RetryAt.Sub(suspected.Since); wait < slow/2 || wait > slow {
			t.Errorf("tried again after %v, want %v to %v", wait, slow/2, slow)
		}
		time.Sleep(slow)
		if up := r.waitPhase(push.Connected); up.Since.Sub(suspected.RetryAt).Abs() > time.Second {
			t.Errorf("connected at %v, announced for %v", up.Since, suspected.RetryAt)
		}
		time.Sleep(4 * time.Hour)
		if err := r.wait(); !errors.As(err, &taken) || taken.Suspected {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAttackABrokerThatDropsAtOnceIsNotStormed(t *testing.T) {
	for name, script := range map[string]func(p *peer){
		"before CONNACK": func(p *peer) {},
		"after CONNACK":  func(p *peer) { p.connack(false, packets.Properties{}) },
		"with a reason, once it has subscribed": func(p *peer) {
			p.accept(false)
			time.Sleep(time.Second)
			p.send(&packets.Disconnect{ReasonCode: packets.DisconnectUnspecifiedError, Properties: &packets.Properties{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, script)
				start(t, b.config(), discard(t))
				time.Sleep(4 * time.Hour)
				// the mean delay is 1, 2, 4 ... seconds, then 60 of at most 120
				if n := len(b.dialled()); n < 120 || n > 320 {
					t.Errorf("%d dials in 4 hours", n)
				}
			})
		})
	}
}

func TestTheBackOffStartsAnewOnlyAfterAStableConnection(t *testing.T) {
	for _, c := range []struct {
		life        time.Duration
		least, most int
	}{
		{50 * time.Second, 20, 150}, // delays grow to about 90 s and more of at most 10 min
		{70 * time.Second, 300, 360},
	} {
		t.Run(c.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					time.Sleep(c.life)
					p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown, Properties: &packets.Properties{}})
				})
				cfg := b.config()
				cfg.KeepAlive = 10 * time.Minute
				cfg.Backoff.Max = 10 * time.Minute
				start(t, cfg, discard(t))
				time.Sleep(7 * time.Hour)
				if n := len(b.dialled()); n < c.least || n > c.most {
					t.Errorf("%d connections in 7 hours, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

func TestWakeEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if p.n == 1 {
				p.expect(packets.CONNECT)
				p.send(&packets.Connack{ReasonCode: packets.ConnackNotAuthorized, Properties: &packets.Properties{}})
				return
			}
			p.accept(false)
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		denied := r.waitPhase(push.Denied)
		r.Wake()
		s := r.waitPhase(push.Connected)
		if took := s.Since.Sub(denied.Since); took > time.Second || s.Err != nil {
			t.Errorf("connected %v after, error %v", took, s.Err)
		}
	})
}

func TestAttackARedirectionIsNamedAndNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: packets.ConnackServerMoved, Properties: &packets.Properties{ServerReference: "evil.example:8883"}})
		})
		r := start(t, b.config(), discard(t)) // its Dial refuses any other address
		s := r.waitPhase(push.Denied)
		var refused *push.ReasonError
		if !errors.As(s.Err, &refused) || refused.ServerReference != "evil.example:8883" || !strings.Contains(s.Err.Error(), `"evil.example:8883"`) {
			t.Errorf("error %v", s.Err)
		}
	})
}

func TestAttackTheBrokersWordsAreQuotedAndCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: 0x87, Properties: &packets.Properties{ReasonString: "line\nforged " + strings.Repeat("x", 10_000)}})
		})
		r := start(t, b.config(), discard(t))
		if text := r.waitPhase(push.Denied).Err.Error(); strings.Contains(text, "\n") || len(text) > 800 || !strings.Contains(text, `line\nforged`) {
			t.Errorf("error %q", text)
		}
	})
}

// A broker that speaks MQTT 3.1.1 alone refuses in the words of that.
func TestTheRefusalsOfAnOlderBrokerAreUnderstood(t *testing.T) {
	for code, want := range map[byte]struct {
		phase push.Phase
		says  string
	}{
		1: {push.Denied, "MQTT 5"},
		2: {push.Denied, "0x85"},
		3: {push.BackingOff, "0x88"},
		4: {push.Denied, "0x86"},
		5: {push.Denied, "0x87"},
		6: {push.BackingOff, "MQTT 3.1.1"},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.expect(packets.CONNECT)
					p.sendRaw(0x20, 2, 0, code)
				})
				r := start(t, b.config(), discard(t))
				if s := r.waitState(func(s push.State) bool { return s.Err != nil }); s.Phase != want.phase || !strings.Contains(s.Err.Error(), want.says) {
					t.Errorf("phase %q, error %v", s.Phase, s.Err)
				}
				r.stop()
			})
		})
	}
}
