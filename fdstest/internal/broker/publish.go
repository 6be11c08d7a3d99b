package broker

import (
	"bytes"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// Publish publishes as the provider (M6). It returns the number of sessions that
// the message went to, 0 or 1, since a topic has one owner: connected ones get
// it, and offline ones get it at QoS 1 when they come back. It never waits for a
// subscriber. A retained message is kept for later subscribers; an empty
// retained payload removes it. The payload is copied.
//
// The topic must be a name below fds/v2/<subscription ID>/ and qos 0 or 1; other
// topics match ErrTopic. After Close the error is ErrClosed.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) (int, error) {
	return b.PublishExpiring(topic, payload, qos, retain, 0)
}

// PublishExpiring is Publish for a message that nobody gets who was away for longer
// than after, in whole seconds rounded up; 0: it does not expire (MQTT 5.0 section
// 3.3.2.3.3).
func (b *Broker) PublishExpiring(topic string, payload []byte, qos byte, retain bool, after time.Duration) (int, error) {
	m := &message{topic: topic, payload: bytes.Clone(payload), qos: qos, retain: retain}
	m.expire(after)
	sessions, err := b.publish(m)
	if err != nil {
		return 0, fmt.Errorf("broker: publish: %w", err)
	}
	return sessions, nil
}

func (m *message) expire(after time.Duration) {
	if after > 0 {
		m.expires = time.Now().Add((after + time.Second - 1).Truncate(time.Second))
	}
}

func (b *Broker) publish(m *message) (int, error) {
	clientID, err := topicOwner(m.topic)
	if err == nil {
		err = b.checkMessage(m)
	}
	if err != nil {
		return 0, err
	}
	o := b.known(clientID)
	toOthers := 0
	for _, other := range b.others(o) {
		toOthers += other.deliver(m)
	}
	if o == nil {
		if toOthers > 0 {
			return toOthers, nil
		}
		if !isSubscriptionID(clientID) {
			return 0, fmt.Errorf("%w: its third level is no subscription ID", ErrTopic)
		}
		if !m.retain || len(m.payload) == 0 {
			return 0, nil // nobody by that name has ever connected
		}
		o = b.ownerOf(clientID)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	if m.retain {
		o.retain(m)
	}
	return o.deliverLocked(m) + toOthers, nil
}

// deliver sends a message to an owner's session and returns the number of sessions that it went
// to, 0 or 1.
func (o *owner) deliver(m *message) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.deliverLocked(m)
}

func (o *owner) deliverLocked(m *message) int {
	if o.session == nil {
		return 0
	}
	if d := o.session.match(m); d != nil && o.enqueue(d) {
		return 1
	}
	return 0
}

// retain keeps or removes a retained message. The caller holds o.mu.
func (o *owner) retain(m *message) {
	o.changed = true
	if len(m.payload) == 0 {
		delete(o.retained, m.topic)
		return
	}
	o.sequence++
	m.sequence = o.sequence
	if o.retained == nil {
		o.retained = make(map[string]*message)
	}
	o.retained[m.topic] = m
}

func (b *Broker) checkMessage(m *message) error {
	if m.qos > 1 {
		return fmt.Errorf("QoS %d: the broker has 0 and 1", m.qos)
	}
	if size := publishSize(&delivery{message: m, qos: m.qos}); size > maxPacket-1024 {
		return fmt.Errorf("the packet would have %d bytes, MQTT takes at most %d", size, maxPacket)
	}
	select {
	case <-b.done:
		return ErrClosed
	default:
		return nil
	}
}

// PublishTo delivers to one client whatever the topic says and whatever it is
// subscribed to, as a broker without the rule M5 would. The topic may be
// another owner's, hold wildcards, or be empty. It returns the number of sessions
// that the message went to.
func (b *Broker) PublishTo(clientID, topic string, payload []byte, qos byte) (int, error) {
	m := &message{topic: topic, payload: bytes.Clone(payload), qos: qos}
	err := b.checkMessage(m)
	if len(topic) > maxTopicBytes {
		err = fmt.Errorf("%w: it has %d bytes", ErrTopic, len(topic))
	}
	if err != nil {
		return 0, fmt.Errorf("broker: publish to %s: %w", shown(clientID), err)
	}
	o := b.known(clientID)
	if o == nil {
		return 0, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session != nil && o.enqueue(&delivery{message: m, qos: qos}) {
		return 1, nil
	}
	return 0, nil
}

// published takes a client's PUBLISH. A subscriber's has no effect (M7): at QoS
// 1 it is answered 0x87, at QoS 0 dropped without a word, as Mosquitto does.
func (c *conn) published(p *packets.Publish) error {
	switch {
	case p.QoS > 1:
		return &packetError{packets.DisconnectQoSNotSupported, "PUBLISH at QoS 2"}
	case p.Properties.TopicAlias != nil:
		return &packetError{packets.DisconnectTopicAliasInvalid, "PUBLISH with a topic alias"}
	case p.Properties.SubscriptionIdentifier != nil:
		return protocolError("a client's PUBLISH with a subscription identifier")
	case p.QoS == 1 && p.PacketID == 0:
		return protocolError("PUBLISH with packet ID 0")
	}
	code := byte(packets.PubackNotAuthorized)
	if c.provider || c.broker.weak().SubscribersPublish {
		code = c.publishedByProvider(p)
	} else {
		o := c.owner.Load()
		o.mu.Lock()
		o.count.forbidden++
		o.mu.Unlock()
	}
	if p.QoS == 0 {
		return nil
	}
	return c.answer(&packets.Puback{PacketID: p.PacketID, ReasonCode: code, Properties: &packets.Properties{}})
}

func (c *conn) publishedByProvider(p *packets.Publish) (code byte) {
	m := &message{topic: p.Topic, payload: p.Payload, qos: p.QoS, retain: p.Retain}
	if after := p.Properties.MessageExpiry; after != nil {
		m.expires = time.Now().Add(time.Duration(*after) * time.Second)
		p.Properties.MessageExpiry = nil // what is left of it is sent in its place
	}
	m.properties = p.Properties.Pack(packets.PUBLISH)
	sessions, err := c.broker.publish(m)
	switch {
	case err != nil:
		c.broker.config.Logger.Warn("a provider's PUBLISH was refused", "client_id", shown(c.owner.Load().clientID), "error", err)
		return packets.PubackTopicNameInvalid
	case sessions == 0:
		return packets.PubackNoMatchingSubscribers
	}
	return packets.PubackSuccess
}
