package broker

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// An owner is all that the broker knows under one client ID. One lock guards
// it, so that what one subscriber does never holds up another.
type owner struct {
	broker   *Broker
	clientID string

	mu       sync.Mutex
	conn     *conn    // nil: offline
	session  *session // nil: none
	retained map[string]*message
	sequence uint64 // orders messages and deliveries

	cutNext bool // the next PUBLISH is cut in half
	changed bool // since it was last kept
	count   counts
}

// counts are what tests ask about; they outlive sessions.
type counts struct {
	connects          int
	sent              int
	redelivered       int
	acknowledged      int
	unknownAcks       int
	forbidden         int
	droppedQoS0       int
	droppedQueueLimit int
	droppedTooLarge   int
}

// A session outlives its connection by expiry. The owner's lock guards it.
type session struct {
	expiry        time.Duration
	expires       *time.Timer // runs while the owner is offline
	ends          time.Time   // when it runs out
	subscriptions []subscription

	queue    fifo
	qos0     int                  // of the queue's messages
	inFlight map[uint16]*delivery // QoS 1, sent and not acknowledged
	resend   []*delivery          // of these, what this connection has not seen yet, in order
	window   int                  // of these, what this connection has seen
	packetID uint16               // used last
	repeat   *time.Timer          // see Faults.RepeatAfter
}

// A message is immutable once made: the queues of several sessions share it.
type message struct {
	topic      string
	payload    []byte
	properties []byte // encoded, as the provider sent them
	qos        byte
	retain     bool
	sequence   uint64
	expires    time.Time // zero: never (MQTT 5.0 section 3.3.2.3.3)
}

func (m *message) expired() bool { return !m.expires.IsZero() && !time.Now().Before(m.expires) }

// A delivery is one message on its way to one session.
type delivery struct {
	message     *message
	identifiers []int // of the subscriptions that it matched
	sequence    uint64
	packetID    uint16
	qos         byte
	retain      bool
	dup         bool
	sent        bool // over this connection
	sentAt      time.Time
}

// enqueue takes a delivery in and reports whether it will reach the client, as far
// as the broker can know. The caller holds o.mu and there is a session.
func (o *owner) enqueue(d *delivery) bool {
	s := o.session
	o.changed = true
	o.sequence++
	d.sequence = o.sequence
	if d.qos == 0 {
		if o.conn == nil || s.qos0 >= o.broker.config.QoS0Buffer {
			o.count.droppedQoS0++
			return false
		}
		s.qos0++
	} else if limit := o.broker.faults.Load().of(o.clientID).QueueLimit; limit > 0 && s.queue.len()-s.qos0 >= limit {
		o.count.droppedQueueLimit++
		return false
	}
	s.queue.push(d)
	if o.conn != nil {
		o.conn.kick()
	}
	return true
}

// next returns the next delivery that may be sent now, nil when there is none.
func (s *session) next(receiveMaximum int) *delivery {
	for len(s.resend) > 0 {
		if s.window >= receiveMaximum {
			return nil
		}
		d := s.resend[0]
		s.resend = s.resend[1:]
		if s.inFlight[d.packetID] == d { // not acknowledged since
			d.dup, d.sent, d.sentAt = true, true, time.Now()
			s.window++
			return d
		}
	}
	s.dropExpired()
	d := s.queue.first()
	switch {
	case d == nil:
		return nil
	case d.qos == 0:
		s.qos0--
	case s.window >= receiveMaximum:
		return nil
	default:
		d.packetID, d.sent, d.sentAt = s.freePacketID(), true, time.Now()
		if s.inFlight == nil {
			s.inFlight = make(map[uint16]*delivery)
		}
		s.inFlight[d.packetID] = d
		s.window++
	}
	s.queue.pop()
	return d
}

// dropExpired takes out of the queue's front what has waited too long: what has been
// sent once goes again however old it is.
func (s *session) dropExpired() {
	for d := s.queue.first(); d != nil && d.message.expired(); d = s.queue.first() {
		if d.qos == 0 {
			s.qos0--
		}
		s.queue.pop()
	}
}

// ready reports whether next would give one.
func (s *session) ready(receiveMaximum int) bool {
	s.dropExpired()
	if s.window < receiveMaximum {
		return len(s.resend) > 0 || s.queue.len() > 0
	}
	d := s.queue.first()
	return len(s.resend) == 0 && d != nil && d.qos == 0
}

// freePacketID never fails: the window is at most 65,535 wide and this is asked
// only while it is not full; deliveries that wait in resend hold IDs too, but
// none is asked for before they have gone.
func (s *session) freePacketID() uint16 {
	for {
		s.packetID++
		if _, used := s.inFlight[s.packetID]; s.packetID != 0 && !used {
			return s.packetID
		}
	}
}

// acknowledge ends a delivery; false when the packet ID is not in flight.
func (s *session) acknowledge(packetID uint16) bool {
	d := s.inFlight[packetID]
	if d == nil {
		return false
	}
	s.forget(d)
	return true
}

func (s *session) forget(d *delivery) {
	delete(s.inFlight, d.packetID)
	if d.sent {
		s.window--
	}
}

// resume prepares the session for a new connection: all that is unacknowledged
// goes again, in the order of its first sending and under the same packet IDs
// (MQTT 5.0 section 4.4).
func (s *session) resume() {
	if s.expires != nil {
		s.expires.Stop()
		s.expires = nil
	}
	s.ends = time.Time{}
	s.resend = s.unacknowledged()
	for _, d := range s.resend {
		d.sent = false
	}
	s.window = 0
}

// unacknowledged returns what is in flight, in the order of its first sending.
func (s *session) unacknowledged() []*delivery {
	return slices.SortedFunc(maps.Values(s.inFlight), func(a, b *delivery) int { return cmp.Compare(a.sequence, b.sequence) })
}

// goOffline detaches the connection and keeps or ends the session. The caller
// holds o.mu.
func (o *owner) goOffline() {
	o.conn = nil
	o.changed = true
	s := o.session
	switch {
	case s == nil:
		return
	case s.expiry == 0:
		o.discardSession()
		return
	}
	if s.qos0 > 0 {
		o.count.droppedQoS0 += s.qos0
		s.qos0 = 0
		s.queue.keep(func(d *delivery) bool { return d.qos > 0 })
	}
	o.expireIn(s.expiry)
}

// expireIn ends the session of an owner who stays away. The caller holds o.mu.
func (o *owner) expireIn(left time.Duration) {
	s := o.session
	s.ends = time.Now().Add(left)
	var expires *time.Timer
	expires = time.AfterFunc(left, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.session == s && s.expires == expires { // else it came back just in time
			o.discardSession()
		}
	})
	s.expires = expires
}

// discardSession ends the session. The caller holds o.mu.
func (o *owner) discardSession() {
	if o.session != nil && o.session.expires != nil {
		o.session.expires.Stop()
	}
	o.session = nil
	o.changed = true
}

// A fifo is a queue of any length whose memory follows its length.
type fifo struct {
	items []*delivery
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(d *delivery) { q.items = append(q.items, d) }

func (q *fifo) first() *delivery {
	if q.len() == 0 {
		return nil
	}
	return q.items[q.head]
}

func (q *fifo) pop() {
	q.items[q.head] = nil
	q.head++
	switch {
	case q.len() == 0 && cap(q.items) > 1024:
		*q = fifo{}
	case q.len() == 0:
		q.items, q.head = q.items[:0], 0
	case q.head >= 1024 && q.head >= q.len():
		q.items, q.head = append([]*delivery(nil), q.items[q.head:]...), 0
	}
}

func (q *fifo) keep(wanted func(*delivery) bool) {
	q.items = slices.DeleteFunc(q.items[q.head:], func(d *delivery) bool { return !wanted(d) })
	q.head = 0
}
