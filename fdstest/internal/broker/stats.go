package broker

import "slices"

// ClientStats is what the broker knows of one client ID. Counts run since New,
// over all of the client's connections and sessions.
type ClientStats struct {
	Connected bool
	Session   bool // connected, or offline and not expired

	Subscriptions  []string // the session's filters, in the order of their subscription
	Unacknowledged int      // QoS 1 messages sent in this session and not acknowledged
	Queued         int      // messages waiting to be sent

	Connects     int // CONNECTs with the right certificate, also those that a fault refused
	Sent         int // PUBLISH packets, redeliveries included
	Redelivered  int // of these, marked DUP
	Acknowledged int // PUBACKs that ended a delivery
	UnknownAcks  int // PUBACKs for a packet ID that was not in flight
	Forbidden    int // PUBLISH packets of the client, none of which had an effect (M7)

	DroppedQoS0       int // offline or too slow
	DroppedQueueLimit int // by Faults.QueueLimit
	DroppedTooLarge   int // over the client's maximum packet size
}

// Stats is the broker at one moment; the clients are looked at one by one.
type Stats struct {
	Accepted         int // TCP connections
	HandshakesFailed int // TLS handshakes that failed, for instance without a client certificate
	Refused          int // CONNECTs refused for what they were, not by a fault
	Clients          map[string]ClientStats
}

// Connections returns the client IDs that are connected, sorted.
func (b *Broker) Connections() []string {
	var connected []string
	for id, c := range b.Stats().Clients {
		if c.Connected {
			connected = append(connected, id)
		}
	}
	slices.Sort(connected)
	return connected
}

// Client returns what is known of one client ID, zero for one never seen.
func (b *Broker) Client(clientID string) ClientStats {
	if o := b.known(clientID); o != nil {
		return o.stats()
	}
	return ClientStats{}
}

// Stats returns what is known of all clients that have ever connected.
func (b *Broker) Stats() Stats {
	b.mu.RLock()
	owners := b.snapshot(nil)
	b.mu.RUnlock()
	s := Stats{
		Accepted:         int(b.accepted.Load()),
		HandshakesFailed: int(b.handshakesFailed.Load()),
		Refused:          int(b.refused.Load()),
		Clients:          make(map[string]ClientStats, len(owners)),
	}
	for _, o := range owners {
		if c := o.stats(); c.Connects > 0 {
			s.Clients[o.clientID] = c
		}
	}
	return s
}

func (o *owner) stats() ClientStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.count
	s := ClientStats{
		Connected: o.conn != nil, Session: o.session != nil,
		Connects: c.connects, Sent: c.sent, Redelivered: c.redelivered,
		Acknowledged: c.acknowledged, UnknownAcks: c.unknownAcks, Forbidden: c.forbidden,
		DroppedQoS0: c.droppedQoS0, DroppedQueueLimit: c.droppedQueueLimit, DroppedTooLarge: c.droppedTooLarge,
	}
	if o.session != nil {
		s.Unacknowledged, s.Queued = len(o.session.inFlight), o.session.queue.len()
		for _, sub := range o.session.subscriptions {
			s.Subscriptions = append(s.Subscriptions, sub.filter)
		}
	}
	return s
}
