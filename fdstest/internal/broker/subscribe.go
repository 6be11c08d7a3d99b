package broker

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/eclipse/paho.golang/packets"
)

// maxSubscriptions bounds the filters of one session.
const maxSubscriptions = 1024

const (
	unsubackSuccess = 0x00
	unsubackUnknown = 0x11
)

type subscription struct {
	filter            string
	identifier        int // 0: none
	qos               byte
	retainAsPublished bool
}

// subscribe answers filter by filter. A refused filter leaves the others alone.
func (c *conn) subscribe(p *packets.Subscribe) error {
	identifier := 0
	if id := p.Properties.SubscriptionIdentifier; id != nil {
		if *id < 1 || *id > maxVariableByteInteger {
			return protocolError("subscription identifier out of range")
		}
		identifier = *id
	}
	if p.PacketID == 0 {
		return protocolError("SUBSCRIBE with packet ID 0")
	}
	if len(p.Subscriptions) == 0 {
		return protocolError("SUBSCRIBE without a filter")
	}
	for _, s := range p.Subscriptions {
		switch {
		case s.QoS > 2 || s.RetainHandling > 2:
			return protocolError("SUBSCRIBE with impossible options")
		case !validString(s.Topic):
			return malformed("a filter is not valid UTF-8 without NUL")
		}
	}

	o := c.owner.Load()
	others := c.broker.others(o)
	var foreign []*delivery
	for _, other := range others {
		other.mu.Lock()
		for _, s := range p.Subscriptions {
			foreign = append(foreign, other.retainedFor(subscription{filter: s.Topic, qos: min(s.QoS, 1), identifier: identifier})...)
		}
		other.mu.Unlock()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != c {
		return nil
	}
	c.broker.config.SessionChanges(o.clientID)
	o.changed = true
	suback := &packets.Suback{PacketID: p.PacketID, Properties: &packets.Properties{}}
	if c.idInUse(p.PacketID) {
		suback.Reasons = bytes.Repeat([]byte{packets.SubackPacketIdentifierinuse}, len(p.Subscriptions))
		return c.answerLocked(suback)
	}
	var retained []*delivery
	for _, s := range p.Subscriptions {
		code := c.refusal(s.Topic)
		if code == 0 {
			code = min(s.QoS, 1)
			sub := subscription{filter: s.Topic, identifier: identifier, qos: code, retainAsPublished: s.RetainAsPublished}
			isNew := o.session.subscribe(sub)
			if s.RetainHandling == packets.RetainSendOnSubscribe || s.RetainHandling == packets.RetainSendOnSubscribeIfNew && isNew {
				retained = append(retained, o.retainedFor(sub)...)
			}
		}
		suback.Reasons = append(suback.Reasons, code)
	}
	if err := c.answerLocked(suback); err != nil {
		return err
	}
	for _, d := range append(retained, foreign...) {
		o.enqueue(d)
	}
	return nil
}

// refusal returns the reason code for which a filter is refused, 0 for none. The
// caller holds the owner's lock.
func (c *conn) refusal(filter string) byte {
	o := c.owner.Load()
	if code := c.broker.faults.Load().of(o.clientID).SubackCode; code != 0 {
		return code
	}
	weak := c.broker.weak()
	switch {
	case weak.NoRules && validFilter(filter), weak.ProvidersSubscribe && c.provider && validFilter(filter) && strings.HasPrefix(filter, topicPrefix):
		return 0
	case filter == "$share" || strings.HasPrefix(filter, "$share/"):
		return packets.SubackSharedSubscriptionnotsupported
	case !validFilter(filter):
		return packets.SubackTopicFilterinvalid
	case c.provider || !strings.HasPrefix(filter, topicRoot(o.clientID)):
		return packets.SubackNotauthorized // M5, and providers only publish
	case len(o.session.subscriptions) >= maxSubscriptions && o.session.find(filter) < 0:
		return packets.SubackQuotaexceeded
	}
	return 0
}

func (c *conn) unsubscribe(p *packets.Unsubscribe) error {
	if p.PacketID == 0 {
		return protocolError("UNSUBSCRIBE with packet ID 0")
	}
	if len(p.Topics) == 0 {
		return protocolError("UNSUBSCRIBE without a filter")
	}
	o := c.owner.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != c {
		return nil
	}
	c.broker.config.SessionChanges(o.clientID)
	o.changed = true
	unsuback := &packets.Unsuback{PacketID: p.PacketID, Properties: &packets.Properties{}}
	if c.idInUse(p.PacketID) {
		unsuback.Reasons = bytes.Repeat([]byte{packets.SubackPacketIdentifierinuse}, len(p.Topics))
		return c.answerLocked(unsuback)
	}
	for _, filter := range p.Topics {
		code := byte(unsubackUnknown)
		if at := o.session.find(filter); at >= 0 {
			o.session.subscriptions = slices.Delete(o.session.subscriptions, at, at+1)
			code = unsubackSuccess
		}
		unsuback.Reasons = append(unsuback.Reasons, code)
	}
	return c.answerLocked(unsuback)
}

// others are the owners whose topics another one may subscribe to, where there are no rules.
func (b *Broker) others(o *owner) []*owner {
	if weak := b.weak(); !weak.NoRules && !weak.ProvidersSubscribe {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.DeleteFunc(b.snapshot(nil), func(other *owner) bool { return other == o })
}

// subscribe adds a subscription or replaces the one with the same filter.
func (s *session) subscribe(sub subscription) (isNew bool) {
	if at := s.find(sub.filter); at >= 0 {
		s.subscriptions[at] = sub
		return false
	}
	s.subscriptions = append(s.subscriptions, sub)
	return true
}

func (s *session) find(filter string) int {
	return slices.IndexFunc(s.subscriptions, func(sub subscription) bool { return sub.filter == filter })
}

// match makes the one delivery that all matching subscriptions share, or returns
// nil: overlapping filters do not deliver twice, the highest quality of service
// counts, and every identifier is named (MQTT 5.0 section 3.3.4).
func (s *session) match(m *message) *delivery {
	var d *delivery
	for _, sub := range s.subscriptions {
		if !matches(shared(sub.filter), m.topic) {
			continue
		}
		if d == nil {
			d = &delivery{message: m}
		}
		d.qos = max(d.qos, min(m.qos, sub.qos))
		d.retain = d.retain || m.retain && sub.retainAsPublished
		if sub.identifier != 0 {
			d.identifiers = append(d.identifiers, sub.identifier)
		}
	}
	return d
}

// retainedFor returns the retained messages that match a subscription, in the
// order of their publication. The caller holds o.mu.
func (o *owner) retainedFor(sub subscription) []*delivery {
	var found []*delivery
	for _, m := range o.retained {
		if matches(sub.filter, m.topic) { // a shared one gets none (MQTT 5.0 section 4.8.2)
			d := &delivery{message: m, qos: min(m.qos, sub.qos), retain: true}
			if sub.identifier != 0 {
				d.identifiers = []int{sub.identifier}
			}
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(x, y *delivery) int { return cmp.Compare(x.message.sequence, y.message.sequence) })
	return found
}
