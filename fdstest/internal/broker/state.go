package broker

import (
	"maps"
	"slices"
	"time"
)

// State is what is known under one client ID and outlives a broker. Its fields are for
// package encoding/json.
type State struct {
	Retained []StateMessage `json:",omitempty"` // in the order of their publication
	Session  *StateSession  `json:",omitempty"`
}

// StateSession is a session. QoS 0 messages are not in it.
type StateSession struct {
	Expiry        time.Duration // after the connection's end
	Ends          time.Time     `json:",omitzero"` // of a client that is away
	Subscriptions []StateSubscription
	InFlight      []StateMessage `json:",omitempty"` // in the order of their sending
	Queue         []StateMessage `json:",omitempty"`
	PacketID      uint16         // used last
}

// StateSubscription is a subscription.
type StateSubscription struct {
	Filter            string
	Identifier        int `json:",omitempty"`
	QoS               byte
	RetainAsPublished bool `json:",omitempty"`
}

// StateMessage is a message, and how it goes to its session.
type StateMessage struct {
	Topic      string
	Payload    []byte
	Properties []byte    `json:",omitempty"`
	Expires    time.Time `json:",omitzero"`
	QoS        byte
	Retain     bool `json:",omitempty"`

	Identifiers []int  `json:",omitempty"`
	DeliverQoS  byte   `json:",omitempty"`
	DeliverFlag bool   `json:",omitempty"` // retain
	PacketID    uint16 `json:",omitempty"`
}

// Changed returns the client IDs whose state has changed since the last call.
func (b *Broker) Changed() []string {
	b.mu.RLock()
	owners := b.snapshot(nil)
	b.mu.RUnlock()
	var ids []string
	for _, o := range owners {
		o.mu.Lock()
		if o.changed {
			o.changed = false
			ids = append(ids, o.clientID)
		}
		o.mu.Unlock()
	}
	return ids
}

// State returns what is known under a client ID.
func (b *Broker) State(clientID string) State {
	var st State
	o := b.known(clientID)
	if o == nil {
		return st
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range slices.SortedFunc(maps.Values(o.retained), func(x, y *message) int { return int(int64(x.sequence) - int64(y.sequence)) }) {
		st.Retained = append(st.Retained, stateOf(&delivery{message: m}))
	}
	s := o.session
	if s == nil || s.expiry == 0 {
		return st
	}
	kept := &StateSession{Expiry: s.expiry, Ends: s.ends, PacketID: s.packetID}
	for _, sub := range s.subscriptions {
		kept.Subscriptions = append(kept.Subscriptions, StateSubscription{sub.filter, sub.identifier, sub.qos, sub.retainAsPublished})
	}
	for _, d := range s.unacknowledged() {
		kept.InFlight = append(kept.InFlight, stateOf(d))
	}
	for _, d := range s.queue.items[s.queue.head:] {
		if d.qos > 0 {
			kept.Queue = append(kept.Queue, stateOf(d))
		}
	}
	st.Session = kept
	return st
}

func stateOf(d *delivery) StateMessage {
	m := d.message
	return StateMessage{
		Topic: m.topic, Payload: m.payload, Properties: m.properties, Expires: m.expires, QoS: m.qos, Retain: m.retain,
		Identifiers: d.identifiers, DeliverQoS: d.qos, DeliverFlag: d.retain, PacketID: d.packetID,
	}
}

func (m StateMessage) delivery() *delivery {
	return &delivery{
		message:     &message{topic: m.Topic, payload: m.Payload, properties: m.Properties, expires: m.Expires, qos: m.QoS, retain: m.Retain},
		identifiers: m.Identifiers, qos: m.DeliverQoS, retain: m.DeliverFlag, packetID: m.PacketID,
	}
}

// Restore takes up what State has told. Nobody is connected yet; a session that had a
// connection counts as one whose client has just gone.
func (b *Broker) Restore(clientID string, st State) {
	if !isSubscriptionID(clientID) {
		return
	}
	o := b.ownerOf(clientID)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, kept := range st.Retained {
		o.retain(kept.delivery().message)
	}
	if st.Session == nil {
		return
	}
	s := &session{expiry: st.Session.Expiry, packetID: st.Session.PacketID}
	for _, sub := range st.Session.Subscriptions {
		s.subscriptions = append(s.subscriptions, subscription{sub.Filter, sub.Identifier, sub.QoS, sub.RetainAsPublished})
	}
	for _, kept := range st.Session.InFlight {
		d := kept.delivery()
		o.sequence++
		d.sequence = o.sequence
		if s.inFlight == nil {
			s.inFlight = make(map[uint16]*delivery)
		}
		s.inFlight[d.packetID] = d
	}
	for _, kept := range st.Session.Queue {
		d := kept.delivery()
		o.sequence++
		d.sequence = o.sequence
		s.queue.push(d)
	}
	left := s.expiry
	if !st.Session.Ends.IsZero() {
		left = time.Until(st.Session.Ends)
	}
	if left <= 0 {
		return
	}
	o.session = s
	o.expireIn(left)
}
