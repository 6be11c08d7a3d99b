package fdstest

import (
	"context"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Publish publishes to an owner's subscriber as the provider does (M6), below
// the owner's root. It returns without waiting for the subscriber: one that is
// connected gets the message, one that is away gets it later at QoS 1, if its
// session is kept and a subscription matches. QoS is 0 or 1. A retained message
// is kept for later subscriptions; an empty retained payload removes it.
func (p *Provider) Publish(ctx context.Context, o Owner, levels []string, payload []byte, qos byte, retain bool) error {
	return p.PublishExpiring(ctx, o, levels, payload, qos, retain, 0)
}

// PublishExpiring is Publish for a message that expires (MQTT 5.0 section 3.3.2.3.3): who
// gets it learns how much of after is left, and nobody gets it later than that, as a
// retained message either. after counts in whole seconds, rounded up; 0 is Publish.
func (p *Provider) PublishExpiring(ctx context.Context, o Owner, levels []string, payload []byte, qos byte, retain bool, after time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fdstest: publish: %w", err)
	}
	if after < 0 {
		return fmt.Errorf("fdstest: publish: it would expire %v ago", -after)
	}
	if _, err := p.broker.PublishExpiring(o.Topic(levels...), payload, qos, retain, after); err != nil {
		return fmt.Errorf("fdstest: publish: %w", err)
	}
	if len(payload) > 0 || !retain { // else it removes one
		p.senders.published(o, payload)
	}
	return nil
}

// PublishRaw sends a message to one owner's subscriber whatever its topic says:
// another owner's, one with wildcards, an empty one, or none that was subscribed
// to. A correct broker sends none of these.
func (p *Provider) PublishRaw(ctx context.Context, to Owner, topic string, payload []byte, qos byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fdstest: publish raw: %w", err)
	}
	if _, err := p.broker.PublishTo(to.Spelling, topic, payload, qos); err != nil {
		return fmt.Errorf("fdstest: publish raw: %w", err)
	}
	return nil
}

func (p *Provider) publishFromWorld(id fds.SubscriptionID, levels []string, payload []byte, qos byte, retain bool) {
	o, ok := p.owner(id)
	if !ok {
		return // not added to the end yet
	}
	if _, err := p.broker.Publish(o.Topic(levels...), payload, qos, retain); err != nil {
		p.log.Debug("not published", "owner", o.Spelling, "error", err)
	}
	p.senders.published(o, payload)
}

// Subscriber is what the broker knows of one owner's subscriber. Counts run
// since the start, over all its connections and sessions.
type Subscriber struct {
	Connected     bool
	Session       bool     // connected, or away with its session kept
	Subscriptions []string // topic filters

	Unacknowledged int // QoS 1 messages sent in this session and not acknowledged
	Queued         int // messages waiting to be sent

	Connects     int // CONNECTs with the right certificate, also those that a fault refused
	Sent         int // messages, sent again included
	Redelivered  int // of these, marked DUP
	Acknowledged int
	UnknownAcks  int // acknowledgements of what was not in flight
	Forbidden    int // messages that the subscriber tried to publish (M7)
	Dropped      int // messages lost: QoS 0 while away or slow, larger than the client takes, or over SmallQueue's limit
}

// Subscriber says what the broker knows of the owner's subscriber.
func (p *Provider) Subscriber(o Owner) Subscriber {
	c := p.broker.Client(o.Spelling)
	return Subscriber{
		Connected: c.Connected, Session: c.Session, Subscriptions: c.Subscriptions,
		Unacknowledged: c.Unacknowledged, Queued: c.Queued,
		Connects: c.Connects, Sent: c.Sent, Redelivered: c.Redelivered,
		Acknowledged: c.Acknowledged, UnknownAcks: c.UnknownAcks, Forbidden: c.Forbidden,
		Dropped: c.DroppedQoS0 + c.DroppedQueueLimit + c.DroppedTooLarge,
	}
}

// Connections returns the client IDs that are connected to the broker, sorted.
func (p *Provider) Connections() []string { return p.broker.Connections() }
