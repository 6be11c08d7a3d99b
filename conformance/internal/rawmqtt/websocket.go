package rawmqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol  = "mqtt"   // MQTT 5.0 section 6
	upgradeBytes = 32 << 10 // what the answer to the upgrade may take
)

// ErrUpgrade: a server answered, and made no WebSocket.
var ErrUpgrade = errors.New("the server makes no WebSocket for MQTT there")

// WebSocket makes a stream of a WebSocket at a URL out of a connection, for wss of TLS, which is
// closed when that fails.
func WebSocket(ctx context.Context, conn net.Conn, at *url.URL) (stream net.Conn, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = conn.Close()
		}
	}()
	under := &bounded{Conn: conn, left: upgradeBytes}
	there := func(context.Context, string, string) (net.Conn, error) { return under, nil }
	dialer := websocket.Dialer{NetDialContext: there, NetDialTLSContext: there, Subprotocols: []string{subprotocol}}
	socket, response, err := dialer.DialContext(ctx, at.String(), nil)
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && response != nil:
		return nil, fmt.Errorf("%w: HTTP status %d", ErrUpgrade, response.StatusCode)
	case err != nil:
		return nil, err
	case socket.Subprotocol() != subprotocol:
		return nil, fmt.Errorf("%w: it did not choose the subprotocol mqtt", ErrUpgrade)
	}
	under.left = -1
	return &webSocket{Conn: socket, packets: websocket.JoinMessages(socket, "")}, nil
}

// bounded is a connection of which only so much is read; negative: any number of bytes.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.Conn.Read(p)
	}
	if b.left == 0 {
		return 0, fmt.Errorf("%w: its answer is too long", ErrUpgrade)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// webSocket is a WebSocket as a stream of bytes.
type webSocket struct {
	*websocket.Conn
	packets io.Reader
}

func (s *webSocket) Read(p []byte) (int, error) {
	n, err := s.packets.Read(p)
	if errors.As(err, new(*websocket.CloseError)) {
		err = io.EOF
	}
	return n, err
}

func (s *webSocket) Write(p []byte) (int, error) {
	if err := s.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *webSocket) SetDeadline(t time.Time) error { return s.NetConn().SetDeadline(t) }

// CloseWrite says that nothing more will come.
func (s *webSocket) CloseWrite() error {
	return s.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(lingerTime))
}
