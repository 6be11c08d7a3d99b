package push_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/push"
)

// refused has a broker that let the client in send a packet, and gives the state that
// follows within a second and the reason code of the client's DISCONNECT. Nothing may
// be handed over, and nothing acknowledged.
func refused(t *testing.T, packet func(p *peer) []byte, change func(*push.Config)) (s push.State, code byte) {
	t.Helper()
	codes := make(chan byte, 1)
	b := newScripted(t, func(p *peer) {
		p.accept(false)
		if p.n > 1 {
			p.stay()
			return
		}
		time.Sleep(time.Second)
		go p.sendRaw(packet(p)...)
		if d := p.stay(); d != nil {
			codes <- d.ReasonCode
		}
	})
	cfg := b.config()
	if change != nil {
		change(&cfg)
	}
	r := start(t, cfg, discard(t))
	r.waitPhase(push.Connected)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	r.stop()
	close(r.states)
	for s = range r.states {
		if s.Err != nil {
			break
		}
	}
	select {
	case code = <-codes:
	default:
	}
	return s, code
}

// TestAttackATopicAliasThatWasNotOfferedIsRefused: an alias stands for whatever topic
// the broker says it does.
func TestAttackATopicAliasThatWasNotOfferedIsRefused(t *testing.T) {
	alias := func(n uint16) *packets.Properties { return &packets.Properties{TopicAlias: &n} }
	for name, message := range map[string]packets.Publish{
		"one that is set":                   {Topic: "events", Properties: alias(1)},
		"one that is set, acknowledged":     {Topic: "events", QoS: 1, PacketID: 1, Properties: alias(1)},
		"one that is set, released":         {Topic: "events", QoS: 2, PacketID: 1, Properties: alias(1)},
		"one that was never set":            {Properties: alias(1)},
		"one without a topic, and retained": {QoS: 1, PacketID: 1, Retain: true, Properties: alias(65535)},
		"0":                                 {Topic: "events", Properties: alias(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, code := refused(t, func(p *peer) []byte {
					m := message
					if m.Topic != "" {
						m.Topic = p.root.String() + m.Topic
					}
					m.Payload = []byte("{}")
					var b strings.Builder
					if _, err := m.WriteTo(&b); err != nil {
						p.fatal("%v", err)
					}
					return []byte(b.String())
				}, nil)
				if !errors.Is(s.Err, push.ErrProtocol) || !strings.Contains(s.Err.Error(), "alias") {
					t.Errorf("error %v", s.Err)
				}
				if code != packets.DisconnectTopicAliasInvalid {
					t.Errorf("DISCONNECT 0x%02X", code)
				}
			})
		})
	}
}
