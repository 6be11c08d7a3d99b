package push_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
)

// No filter of this owner's matches a topic with the ID in other letters, so that a broker
// that delivers one has taken it past access rules for another name.
func TestAttackATopicWithTheIDInOtherLettersIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			own := p.root.String()
			other := "fds/v2/" + strings.ToUpper(p.root.ClientID()) + "/"
			if other == own {
				p.fatal("the ID has no letters")
			}
			for i, topic := range []string{other + "events", own + "events", other + "events"} {
				p.send(&packets.Publish{Topic: topic, Payload: []byte(topic), PacketID: uint16(i + 1), QoS: 1, Properties: &packets.Properties{}})
			}
			for id := range uint16(3) { // or it would come again
				p.puback(id + 1)
			}
			p.stay()
		})
		var handled []string
		r := start(t, b.config(), func(_ context.Context, m delivery.Message) error {
			handled = append(handled, m.Topic)
			return nil
		})
		time.Sleep(time.Minute)
		s := r.State()
		r.stop()
		if s.Foreign != 2 || s.Err == nil || !strings.Contains(s.Err.Error(), "case-sensitive") || !slices.Equal(handled, []string{b.root.String() + "events"}) {
			t.Errorf("handled %v; %+v", handled, s)
		}
	})
}

// Levels are what the provider wrote: a handler that makes a path of them leaves its folder.
func TestLevelsAreHandedOverAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const below = "../../etc//passwd/$SYS/. /\\\u202e"
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, below, "x")
			p.puback(1)
			p.stay()
		})
		var levels []string
		r := start(t, b.config(), func(_ context.Context, m delivery.Message) error { levels = m.Levels; return nil })
		time.Sleep(time.Minute)
		r.stop()
		if !slices.Equal(levels, strings.Split(below, "/")) {
			t.Errorf("levels %q", levels)
		}
	})
}
