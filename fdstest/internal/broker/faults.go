package broker

import (
	"cmp"
	"maps"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// Faults are the ways to fail that last until they are switched off. The zero
// value is a broker without fault.
type Faults struct {
	// Refuse closes new connections: before the TLS handshake when it is set
	// for all, without an answer to CONNECT when it is set for one client.
	Refuse bool

	// ConnackDelay passes before CONNECT is answered.
	ConnackDelay time.Duration

	// Connack changes the answer to CONNECT.
	Connack ConnackFault

	// SubackCode, when not 0, is the answer to every filter of a SUBSCRIBE, and
	// none is subscribed to: 0x87 is "not authorized".
	SubackCode byte

	// Silent keeps connections open and answers and sends nothing, as a process
	// that hangs: what clients send meanwhile is handled when it is over. When
	// it is set for all, new TLS handshakes hang too. Keep-alive periods start
	// again when it ends.
	Silent bool

	// IgnoreMaximumPacketSize sends packets larger than the client allows.
	IgnoreMaximumPacketSize bool

	// QueueLimit, when not 0, is how many QoS 1 messages wait in a session;
	// more are dropped without a sign, as by Mosquitto's max_queued_messages.
	// Those sent and not acknowledged do not count.
	QueueLimit int

	// RepeatAfter, when not 0, is how long a QoS 1 message stays unacknowledged
	// until it goes again on the same connection, marked DUP, and then each time
	// again, as with EMQX's retry_interval. MQTT 5.0 section 4.4 forbids it.
	RepeatAfter time.Duration

	// IDsInUse, when not 0, has SUBSCRIBE and UNSUBSCRIBE answered 0x91 when a
	// message is in flight under their packet ID, as mochi does, and so the first
	// IDsInUse - 1 of each connection whatever theirs.
	IDsInUse int

	// ExpiryMax, when not 0, bounds how long a session outlives its connection,
	// besides Config.SessionExpiryMax.
	ExpiryMax time.Duration

	// Foreign, when not empty, is what is sent in place of all answers: after
	// CONNECT, or, when it is set for all, as soon as the TLS handshake is done,
	// as servers do that speak first. The connection stays open.
	Foreign string

	// WithoutTLS, when not empty, is what a TLS handshake is answered with, and
	// the connection closed, as on a port of another kind. It counts when it is
	// set for all.
	WithoutTLS string

	// Protocol, when not empty, is the one application protocol that TLS clients
	// must offer (ALPN, RFC 7301). It counts when it is set for all.
	Protocol string

	// Weak is what the broker does not hold its clients to. It counts when it is set for all.
	Weak Weaknesses
}

// Weaknesses are rules that a broker does not keep.
type Weaknesses struct {
	OldTLS             bool // takes TLS 1.0 and 1.1 (M1)
	NoCertificate      bool // takes clients without a certificate (M2)
	AnyAuthority       bool // takes certificates of whatever authority (M2)
	AnyClientID        bool // takes any client ID with any certificate (M4)
	NoRules            bool // has everyone subscribe to everything (M5)
	ProvidersSubscribe bool // has providers subscribe below fds/v2/ (M6)
	SubscribersPublish bool // has subscribers publish below fds/v2/ (M7)
}

// weak returns the rules that are not kept now.
func (b *Broker) weak() Weaknesses { return b.faults.Load().of("").Weak }

// A ConnackFault changes CONNACK.
type ConnackFault struct {
	// Code from 0x80 up refuses the connection; 0 accepts it.
	Code byte
	// Reason and ServerReference (of 0x9C and 0x9D) are left out when empty.
	Reason          string
	ServerReference string
	// AuthMethod names an authentication method that the client did not ask
	// for, which a careless client does not survive.
	AuthMethod string
	// AssignedClientID tells the client an ID, its own again or another one. The
	// broker goes on with the client's own.
	AssignedClientID string
}

func (f ConnackFault) properties() *packets.Properties {
	return &packets.Properties{
		ReasonString: f.Reason, ServerReference: f.ServerReference,
		AuthMethod: f.AuthMethod, AssignedClientID: f.AssignedClientID,
	}
}

// over merges the faults of one client over those of all: both apply, and where
// both give a value the client's counts.
func (f Faults) over(all Faults) Faults {
	pick := func(own, general int) int {
		if own != 0 {
			return own
		}
		return general
	}
	all.Refuse = f.Refuse || all.Refuse
	all.ConnackDelay = time.Duration(pick(int(f.ConnackDelay), int(all.ConnackDelay)))
	if f.Connack != (ConnackFault{}) {
		all.Connack = f.Connack
	}
	all.SubackCode = byte(pick(int(f.SubackCode), int(all.SubackCode)))
	all.Silent = f.Silent || all.Silent
	all.IgnoreMaximumPacketSize = f.IgnoreMaximumPacketSize || all.IgnoreMaximumPacketSize
	all.QueueLimit = pick(f.QueueLimit, all.QueueLimit)
	all.RepeatAfter = time.Duration(pick(int(f.RepeatAfter), int(all.RepeatAfter)))
	all.IDsInUse = pick(f.IDsInUse, all.IDsInUse)
	all.ExpiryMax = time.Duration(pick(int(f.ExpiryMax), int(all.ExpiryMax)))
	all.Foreign = cmp.Or(f.Foreign, all.Foreign)
	return all
}

// A faultSet is immutable: a change makes a new one and closes the old one's
// channel.
type faultSet struct {
	all      Faults
	byClient map[string]Faults
	changed  chan struct{}
}

func newFaultSet() *faultSet { return &faultSet{changed: make(chan struct{})} }

// of returns the faults of a client; "" returns those set for all.
func (s *faultSet) of(clientID string) Faults {
	if own, ok := s.byClient[clientID]; ok {
		return own.over(s.all)
	}
	return s.all
}

// SetFaults switches faults for one client ID, or for all with "". Both sets
// apply to a client; where both give a value its own counts. Faults{} switches
// them off again. It takes effect at once, also on open connections.
func (b *Broker) SetFaults(clientID string, f Faults) {
	b.mu.Lock()
	old := b.faults.Load()
	next := newFaultSet()
	next.all = old.all
	next.byClient = maps.Clone(old.byClient)
	switch {
	case clientID == "":
		next.all = f
	case f == Faults{}:
		delete(next.byClient, clientID)
	default:
		if next.byClient == nil {
			next.byClient = make(map[string]Faults)
		}
		next.byClient[clientID] = f
	}
	b.faults.Store(next)
	owners := b.snapshot(nil)
	b.mu.Unlock()

	close(old.changed)
	for _, o := range owners {
		o.repeatSoon()
		was, is := old.of(o.clientID).Silent, next.of(o.clientID).Silent
		if was == is {
			continue
		}
		o.mu.Lock()
		if o.conn != nil {
			o.conn.setKeepAlive(is)
			o.conn.kick()
		}
		o.mu.Unlock()
	}
}

// Faults returns what SetFaults set last for this client ID, or for all with "".
func (b *Broker) Faults(clientID string) Faults {
	set := b.faults.Load()
	if clientID == "" {
		return set.all
	}
	return set.byClient[clientID]
}

// waitWhileSilent returns when the client is to be answered, or when its
// connection ends.
func (b *Broker) waitWhileSilent(c *conn, clientID string) {
	for {
		set := b.faults.Load()
		if !set.of(clientID).Silent {
			return
		}
		select {
		case <-set.changed:
		case <-c.stopped:
			return
		}
	}
}

// DropConnections closes connections without a DISCONNECT and without closing
// their TLS, all of them or those of the named clients. Their sessions stay.
// It returns the number of connections closed.
func (b *Broker) DropConnections(clientIDs ...string) int {
	return b.eachConn(clientIDs, func(c *conn) {
		c.kill()
		c.owner.Load().goOffline()
	})
}

// Disconnect sends DISCONNECT with a reason code and, where not empty, a reason
// string and a server reference, to all connected clients or to those named,
// and closes. Their sessions stay. It returns the number of clients told.
func (b *Broker) Disconnect(code byte, reason, serverReference string, clientIDs ...string) int {
	return b.eachConn(clientIDs, func(c *conn) {
		c.end(&packets.Disconnect{ReasonCode: code, Properties: &packets.Properties{ReasonString: reason, ServerReference: serverReference}})
	})
}

func (b *Broker) eachConn(clientIDs []string, do func(*conn)) int {
	b.mu.RLock()
	owners := b.snapshot(clientIDs)
	b.mu.RUnlock()
	n := 0
	for _, o := range owners {
		o.mu.Lock()
		if o.conn != nil {
			do(o.conn)
			n++
		}
		o.mu.Unlock()
	}
	return n
}

// LoseSessions forgets the sessions of all clients or of those named, with
// their subscriptions and queues, and drops their connections, as a broker does
// that restarts without having saved anything. Retained messages stay. It returns
// the number of sessions lost.
func (b *Broker) LoseSessions(clientIDs ...string) int {
	b.mu.RLock()
	owners := b.snapshot(clientIDs)
	b.mu.RUnlock()
	n := 0
	for _, o := range owners {
		o.mu.Lock()
		if o.session != nil {
			n++
		}
		o.discardSession()
		if o.conn != nil {
			o.conn.kill()
			o.goOffline()
		}
		o.mu.Unlock()
	}
	return n
}

// CutNextPublish cuts the next PUBLISH to each client, or to each one named, in
// half and then closes its connection. Only clients that have connected before
// are reached. A cut QoS 1 message is delivered again, whole, to the session's
// next connection.
func (b *Broker) CutNextPublish(clientIDs ...string) {
	b.mu.RLock()
	owners := b.snapshot(clientIDs)
	b.mu.RUnlock()
	for _, o := range owners {
		o.mu.Lock()
		o.cutNext = true
		o.mu.Unlock()
	}
}
