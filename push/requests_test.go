package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestRequestsAreNumberedFarFromWhereBrokersBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := map[uint16]bool{}
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{})
			subscribe := p.suback()
			ids[subscribe.PacketID] = true
			if subscribe.PacketID < 1<<15 {
				t.Errorf("SUBSCRIBE has packet identifier %d", subscribe.PacketID)
			}
			p.busy()
		})
		r := start(t, b.config(), discard(t))
		time.Sleep(time.Hour)
		r.stop()
		if len(ids) < 3 {
			t.Errorf("an hour of connections had the identifiers %v", ids)
		}
	})
}

// A broker that takes a request's packet identifier for that of a message in flight is
// asked again at once, for the messages in flight are those of a kept session.
func TestARequestWhosePacketIdentifierIsInUseIsRepeatedUnderAnother(t *testing.T) {
	for name, c := range map[string]struct {
		refusals int
		granted  bool // at the first connection
	}{"once": {1, true}, "three times": {3, true}, "for good": {4, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := map[uint16]bool{}
				again := func(p *peer, refusals int, answer func(id uint16, code byte)) {
					for i := range refusals + 1 {
						var id uint16
						switch request := p.next().Content.(type) {
						case *packets.Subscribe:
							id = request.PacketID
						case *packets.Unsubscribe:
							id = request.PacketID
						default:
							return
						}
						if seen[id] || id < 1<<15 {
							t.Errorf("identifier %d comes again", id)
						}
						seen[id] = true
						code := byte(packets.SubackPacketIdentifierinuse)
						if i == refusals {
							code = 0
						}
						answer(id, code)
					}
				}
				b := newScripted(t, func(p *peer) {
					p.connack(true, packets.Properties{})
					for i := range uint16(70) { // of the session that was kept, more than is read ahead
						p.publish(i+1, true, "a", fmt.Sprint(i))
					}
					if c.granted {
						again(p, c.refusals, func(id uint16, code byte) {
							p.send(&packets.Unsuback{PacketID: id, Reasons: []byte{code}, Properties: &packets.Properties{}})
						})
					}
					again(p, c.refusals, func(id uint16, code byte) {
						p.send(&packets.Suback{PacketID: id, Reasons: []byte{code | 1&^(code>>7)}, Properties: &packets.Properties{}})
					})
					for packet := p.next(); packet != nil && packet.Type != packets.DISCONNECT; packet = p.next() {
					}
				})
				cfg := b.config()
				if c.granted {
					cfg.Subscribed = []string{b.root.String() + "old"}
				}
				began := time.Now()
				got := newCollector()
				r := start(t, cfg, got.handle)
				s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
				if (s.Phase == push.Connected) != c.granted || time.Since(began) > time.Second {
					t.Errorf("%s after %v: %v", s.Phase, time.Since(began), s.Err)
				}
				if c.granted {
					got.wait(t, 70)
				}
				r.stop()
			})
		})
	}
}

// A broker may send again on the same connection what was not acknowledged for a while.
func TestARedeliveryOnTheSameConnectionJoinsTheMessageThatWaitsOrIsInHand(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					send := func(id uint16, duplicate bool, topic string) {
						p.send(&packets.Publish{Topic: topic, Payload: []byte(fmt.Sprint("m", id)), PacketID: id, QoS: qos, Duplicate: duplicate, Properties: &packets.Properties{}})
					}
					topics := []string{p.root.String() + "a", p.root.String() + "b", fds.NewSubscriptionID().Root().String() + "foreign"}
					go func() {
						for round := range 4 { // the last one while the second message is in hand
							for i, topic := range topics[min(round, 3)/3:] {
								send(uint16(i)+1+uint16(min(round, 3)/3), round > 0, topic)
							}
							time.Sleep(35 * time.Second)
						}
					}()
					for i := range topics {
						packet := p.next()
						for packet.Type == packets.PINGREQ {
							p.send(packets.NewControlPacket(packets.PINGRESP))
							packet = p.next()
						}
						var id uint16
						switch ack := packet.Content.(type) {
						case *packets.Puback:
							id = ack.PacketID
						case *packets.Pubrec:
							id = ack.PacketID
						}
						if id != uint16(i)+1 {
							t.Errorf("acknowledgement %d is %v", i, packet)
						}
					}
					p.stay()
				})
				cfg := b.config()
				cfg.SlowHandler = time.Hour
				var handled []string
				r := start(t, cfg, func(_ context.Context, m delivery.Message) error {
					time.Sleep(100 * time.Second)
					handled = append(handled, fmt.Sprint(string(m.Payload), m.Duplicate))
					return nil
				})
				time.Sleep(time.Hour)
				if s := r.State(); s.Phase != push.Connected || s.Connects != 1 || s.Foreign != 1 {
					t.Errorf("%+v", s)
				}
				r.stop()
				if !slices.Equal(handled, []string{"m1false", "m2false"}) {
					t.Errorf("handled %v", handled)
				}
			})
		})
	}
}

// While BeforeMessages fetches what was missed, too: there the message is neither in the
// queue nor in hand.
func TestARedeliveryOnTheSameConnectionJoinsAMessageThatMayNotBeHandedOverYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			p.publish(1, false, "a", "x")
			time.Sleep(30 * time.Second)
			p.publish(1, true, "a", "x")
			p.puback(1)
			p.stay()
		})
		cfg := b.config()
		cfg.BeforeMessages = func(context.Context, push.Subscribed) error { time.Sleep(40 * time.Second); return nil } // before the first ping
		handled := 0
		r := start(t, cfg, func(context.Context, delivery.Message) error { handled++; return nil })
		time.Sleep(10 * time.Minute)
		if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
			t.Errorf("%+v", s)
		}
		r.stop()
		if handled != 1 {
			t.Errorf("handled %d times", handled)
		}
	})
}

func TestTheBoxRepeatsUnacknowledgedMessagesAndTakesPacketIdentifiersForItsOwn(t *testing.T) {
	owner, root := newOwner()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{{Spelling: root.ClientID()}}})
	p.Inject(fdstest.RepeatUnacknowledged(100 * time.Millisecond))
	p.Inject(fdstest.PacketIDsInUse(2))
	certificate, err := p.OwnerCertificate(p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	got := newCollector()
	r := start(t, push.Config{Issuer: owner.Issuer, Root: root, BrokerURL: p.BrokerURL(), Roots: realtest.Trusting(p.RootCAs()), Certificate: source(&certificate.TLS)},
		func(ctx context.Context, m delivery.Message) error { <-release; return got.handle(ctx, m) })
	r.waitPhase(push.Connected)
	for i := range 3 {
		if err := p.Publish(t.Context(), p.Owners()[0], []string{"a"}, []byte(fmt.Sprint(i)), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(testTimeout)
	for p.Subscriber(p.Owners()[0]).Redelivered < 9 {
		if time.Now().After(deadline) {
			t.Fatalf("the broker sent nothing again: %+v", p.Subscriber(p.Owners()[0]))
		}
		select {
		case s := <-r.states:
			if s.Phase != push.Connected {
				t.Fatalf("%+v", s)
			}
		default:
		}
	}
	close(release)
	if messages := payloads(got.wait(t, 3)); !slices.Equal(messages, []string{"0", "1", "2"}) {
		t.Errorf("handled %v", messages)
	}
	r.stop()
	if s := r.State(); s.Connects != 1 {
		t.Errorf("%+v", s)
	}
	if acknowledged := p.Subscriber(p.Owners()[0]); acknowledged.Acknowledged != 3 || acknowledged.UnknownAcks > 3 { // some may cross an acknowledgement
		t.Errorf("the broker has %+v", acknowledged)
	}
}

// That a broker keeps the session for less time than was asked for is said, as is a lower
// quality of service; and one that repeats the client ID is taken.
func TestWhatTheBrokerGrantsLessOfIsSaidOnceAConnection(t *testing.T) {
	owner, root := newOwner()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{{Spelling: root.ClientID()}}})
	p.Inject(fdstest.ShortSessions(5 * time.Minute))
	p.Inject(fdstest.AnswerConnect(fdstest.Connack{AssignedClientID: root.ClientID()}))
	certificate, err := p.OwnerCertificate(p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := start(t, push.Config{
		Issuer: owner.Issuer, Root: root, BrokerURL: p.BrokerURL(), Roots: realtest.Trusting(p.RootCAs()), Certificate: source(&certificate.TLS),
		Logger: slog.New(slog.NewTextHandler(&out, nil)),
	}, discard(t))
	if s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting }); s.Phase != push.Connected || s.SessionExpiry != 5*time.Minute {
		t.Errorf("%+v", s)
	}
	r.stop()
	if n := strings.Count(out.String(), "kept_for=5m0s asked_for=24h0m0s"); n != 1 {
		t.Errorf("logged:\n%s", out.String())
	}
}

func TestNothingIsSentThatIsLargerThanTheBrokerTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			least := uint32(32)
			p.connack(false, packets.Properties{MaximumPacketSize: &least})
			p.stay() // which fails on a SUBSCRIBE
		})
		s := start(t, b.config(), discard(t)).waitState(func(s push.State) bool { return s.Err != nil })
		var refused *push.ReasonError
		if !errors.As(s.Err, &refused) || refused.Code != packets.DisconnectPacketTooLarge || !strings.Contains(s.Err.Error(), "raise its limit") {
			t.Errorf("error %v", s.Err)
		}
	})
}
