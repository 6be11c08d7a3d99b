package fdstest

import (
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/broker"
)

// The faults of the broker concern the subscribers of the owners that are
// named, or all when none is. Fault.Times has no effect on them.

// RefuseConnections closes new connections: without an answer to CONNECT, or,
// for all, before the TLS handshake.
func RefuseConnections(owners ...Owner) Fault {
	return inBroker("RefuseConnections", owners, func(f *broker.Faults) { f.Refuse = true })
}

// Connack is an answer to CONNECT.
type Connack struct {
	Code            byte          // from 0x80 up it refuses the connection; 0 accepts it
	Delay           time.Duration // before the answer
	Reason          string        // reason string; left out when empty
	ServerReference string        // with 0x9C and 0x9D; left out when empty

	// AuthMethod names an authentication method that the client did not ask for,
	// AssignedClientID a client ID though the client gave its own. Both are against
	// MQTT 5.0, though some brokers repeat the client's own; the broker itself goes on
	// as if they had not been sent.
	AuthMethod, AssignedClientID string
}

// AnswerConnect has CONNECT answered in another way.
func AnswerConnect(c Connack, owners ...Owner) Fault {
	return inBroker("AnswerConnect", owners, func(f *broker.Faults) {
		f.ConnackDelay = c.Delay
		f.Connack = broker.ConnackFault{
			Code: c.Code, Reason: c.Reason, ServerReference: c.ServerReference,
			AuthMethod: c.AuthMethod, AssignedClientID: c.AssignedClientID,
		}
	})
}

// DenySubscriptions answers every topic filter with the reason code, 0x87 (not
// authorized) or another from 0x80 up.
func DenySubscriptions(code byte, owners ...Owner) Fault {
	return inBroker("DenySubscriptions", owners, func(f *broker.Faults) { f.SubackCode = code })
}

// SilentBroker keeps connections open and answers and sends nothing, as a broker
// that hangs. For all, it hangs new TLS handshakes too.
func SilentBroker(owners ...Owner) Fault {
	return inBroker("SilentBroker", owners, func(f *broker.Faults) { f.Silent = true })
}

// SmallQueue drops QoS 1 messages without a sign when more than limit wait in a
// session, as brokers do whose queue is full. limit is at least 1.
func SmallQueue(limit int, owners ...Owner) Fault {
	return inBroker("SmallQueue", owners, func(f *broker.Faults) { f.QueueLimit = max(limit, 1) })
}

// LargePackets sends packets larger than the client's maximum packet size.
func LargePackets(owners ...Owner) Fault {
	return inBroker("LargePackets", owners, func(f *broker.Faults) { f.IgnoreMaximumPacketSize = true })
}

// RepeatUnacknowledged sends a QoS 1 message that was not acknowledged for the given time
// again on the same connection, with DUP and the same packet ID, and then each time again.
// MQTT 5.0 section 4.4 allows that only after a reconnect.
func RepeatUnacknowledged(after time.Duration, owners ...Owner) Fault {
	return inBroker("RepeatUnacknowledged", owners, func(f *broker.Faults) { f.RepeatAfter = max(after, time.Millisecond) })
}

// PacketIDsInUse answers 0x91 (packet identifier in use) to each SUBSCRIBE and UNSUBSCRIBE
// under the packet ID of a message in flight, and to the first of each connection, as many
// as requests says, whatever their packet ID.
func PacketIDsInUse(requests int, owners ...Owner) Fault {
	return inBroker("PacketIDsInUse", owners, func(f *broker.Faults) { f.IDsInUse = max(requests, 0) + 1 })
}

// ShortSessions keeps a session for no longer than most, in whole seconds and at least one,
// and says so in CONNACK.
func ShortSessions(most time.Duration, owners ...Owner) Fault {
	return inBroker("ShortSessions", owners, func(f *broker.Faults) { f.ExpiryMax = max(most, time.Second) })
}

// AnswerForeign sends these bytes in the place of MQTT 5.0 and keeps the connection open:
// "HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", or "\x20\x02\x00\x00",
// which is MQTT 3.1.1. For named owners it answers their CONNECT; for all it does not wait
// for that, like a server that speaks first.
func AnswerForeign(bytes string, owners ...Owner) Fault {
	return inBroker("AnswerForeign", owners, func(f *broker.Faults) { f.Foreign = bytes })
}

// AnswerWithoutTLS answers every TLS handshake with these bytes and closes, as a port
// without TLS does.
func AnswerWithoutTLS(bytes string) Fault {
	return inBroker("AnswerWithoutTLS", nil, func(f *broker.Faults) { f.WithoutTLS = bytes })
}

// DemandProtocol refuses TLS clients that do not offer this application protocol (ALPN, RFC
// 7301), with the alert no_application_protocol, as brokers do that share port 443.
func DemandProtocol(protocol string) Fault {
	return inBroker("DemandProtocol", nil, func(f *broker.Faults) { f.Protocol = protocol })
}

// DropConnections breaks connections off, once and at injection. Their sessions
// stay.
func DropConnections(owners ...Owner) Fault {
	return atOnce("DropConnections", func(b *broker.Broker) { b.DropConnections(clientIDs(owners)...) })
}

// LoseSessions drops connections and forgets their sessions, once and at
// injection, as a broker does that restarts without having saved anything.
func LoseSessions(owners ...Owner) Fault {
	return atOnce("LoseSessions", func(b *broker.Broker) { b.LoseSessions(clientIDs(owners)...) })
}

// Disconnect sends DISCONNECT with the reason code and closes, once and at
// injection. reason and serverReference are left out when empty. 0x8E is what a
// take-over looks like, 0x8B a shutdown.
func Disconnect(code byte, reason, serverReference string, owners ...Owner) Fault {
	return atOnce("Disconnect", func(b *broker.Broker) { b.Disconnect(code, reason, serverReference, clientIDs(owners)...) })
}

// CutNextPublish cuts the next message to each subscriber that has ever
// connected in half and breaks the connection off.
func CutNextPublish(owners ...Owner) Fault {
	return atOnce("CutNextPublish", func(b *broker.Broker) { b.CutNextPublish(clientIDs(owners)...) })
}

func atOnce(name string, do func(*broker.Broker)) Fault {
	return Fault{name: name, install: func(p *Provider, _ func() bool) (func(), error) {
		do(p.broker)
		return func() {}, nil
	}}
}

func clientIDs(owners []Owner) []string {
	ids := make([]string, 0, len(owners))
	for _, o := range owners {
		ids = append(ids, o.Spelling)
	}
	return ids
}

// brokerFaults are the lasting faults of the broker that are switched on.
type brokerFaults struct {
	mu     sync.Mutex
	active []*brokerFault
}

type brokerFault struct {
	clientIDs []string
	change    func(*broker.Faults)
}

func inBroker(name string, owners []Owner, change func(*broker.Faults)) Fault {
	ids := clientIDs(owners)
	if len(ids) == 0 {
		ids = []string{""} // all
	}
	return Fault{name: name, install: func(p *Provider, _ func() bool) (func(), error) {
		return p.mqtt.add(p.broker, &brokerFault{clientIDs: ids, change: change}), nil
	}}
}

func (f *brokerFaults) add(b *broker.Broker, fault *brokerFault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, fault)
	f.apply(b, fault.clientIDs)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.active = slices.DeleteFunc(f.active, func(other *brokerFault) bool { return other == fault })
		f.apply(b, fault.clientIDs)
	}
}

// apply tells the broker what is on for each of these clients. The caller holds
// the mutex.
func (f *brokerFaults) apply(b *broker.Broker, clientIDs []string) {
	for _, id := range clientIDs {
		var sum broker.Faults
		for _, fault := range f.active {
			if slices.Contains(fault.clientIDs, id) {
				fault.change(&sum)
			}
		}
		b.SetFaults(id, sum)
	}
}
