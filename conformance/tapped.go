package conformance

import (
	"net"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tap"
)

// mostTapped bounds what is kept of a packet that has not come whole.
const mostTapped = 1 << 20

// tapStream is a stream of MQTT that shows its packets to the tools of this module, where they ask.
func (r *run) tapStream(stream net.Conn, broker string, root fds.Root) net.Conn {
	tell := tap.Of(r.config.Client.Hooks).Packet
	if tell == nil {
		return stream
	}
	told := func(sent bool) func([]byte) {
		return func(packet []byte) {
			tell(tap.Packet{
				Owner:  fds.OwnerKey{Issuer: r.config.Client.Provider.Issuer, SubscriptionID: root.SubscriptionID()},
				Broker: broker, Sent: sent, Data: packet,
			})
		}
	}
	return &tappedStream{Conn: stream, sent: splitter{tell: told(true)}, received: splitter{tell: told(false)}}
}

// tappedStream shows what goes through it. One goroutine reads from it, and one at a time writes.
type tappedStream struct {
	net.Conn
	sent, received splitter
}

func (s *tappedStream) Write(p []byte) (int, error) {
	s.sent.add(p)
	return s.Conn.Write(p)
}

func (s *tappedStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.received.add(p[:n])
	return n, err
}

// splitter makes packets of what comes in pieces.
type splitter struct {
	tell func([]byte)
	held []byte
	over bool // it is no MQTT, or too much of it
}

func (s *splitter) add(p []byte) {
	if s.over {
		return
	}
	s.held = append(s.held, p...)
	for {
		size, ok := packetSize(s.held)
		if s.over = !ok || size > mostTapped; s.over || size == 0 || len(s.held) < size {
			return
		}
		s.tell(s.held[:size])
		s.held = s.held[size:]
	}
}

// packetSize returns how long the packet at the beginning is (MQTT 5.0 section 2.1.4); 0: that has
// not come yet.
func packetSize(p []byte) (size int, ok bool) {
	length := 0
	for i := 1; i < len(p); i++ {
		if i > 4 {
			return 0, false
		}
		length |= int(p[i]&0x7f) << (7 * (i - 1))
		if p[i] < 0x80 {
			return 1 + i + length, true
		}
	}
	return 0, true
}
