package push

import (
	"crypto/tls"
	"net"

	"github.com/fds-sdk/fds-go/internal/tap"
)

// observer returns what tells a tap of the packets of a connection; nil: there is none.
func (s *settings) observer(broker string, conn net.Conn) func(sent bool, packet []byte) {
	tell := tap.Of(s.Hooks).Packet
	if tell == nil {
		return nil
	}
	state := tlsOf(conn) // which goes with the CONNECT, the first of all
	return func(sent bool, packet []byte) {
		p := tap.Packet{Owner: s.owner(), Broker: broker, Sent: sent, Data: packet}
		if sent {
			p.TLS, state = state, nil
		}
		tell(p)
	}
}

// tlsOf returns the state of TLS below a connection to a broker.
func tlsOf(conn net.Conn) *tls.ConnectionState {
	if socket, ok := conn.(*webSocket); ok {
		conn = socket.NetConn()
		if under, ok := conn.(*carrier); ok {
			conn = under.Conn
		}
	}
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := secured.ConnectionState()
	return &state
}

// observeSent tells of packets that are written together, one after the other.
func (w *wire) observeSent(packets []byte) {
	if w.observe == nil {
		return
	}
	for len(packets) > 0 {
		header, length, ok := fixedHeader(packets)
		if !ok {
			return
		}
		w.observe(true, packets[:header+length])
		packets = packets[header+length:]
	}
}
