package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol    = "mqtt"   // MQTT 5.0 section 6
	upgradeBytes   = 32 << 10 // what the answer to the upgrade may take
	httpBegin      = "HTTP/"  // of any answer of HTTP/1
	webSocketRead  = 512      // a connection's memory for frames on their way in
	webSocketWrite = 256      // and out: a subscriber's packets are small
)

// errUpgrade makes a server's refusal of the WebSocket readable.
var errUpgrade = errors.New("the server does not speak MQTT over WebSocket there; check the URL's path with its operator")

// upgrade makes a WebSocket out of a TLS connection (RFC 6455; MQTT 5.0 section
// 6: binary frames, in which packets may begin and end anywhere).
func (s *settings) upgrade(ctx context.Context, secured net.Conn, to server) (net.Conn, error) {
	defer context.AfterFunc(ctx, func() { _ = secured.Close() })()
	under := &carrier{Conn: secured, left: upgradeBytes, writeTimeout: s.WriteTimeout}
	dialer := websocket.Dialer{
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return under, nil },
		Subprotocols:      []string{subprotocol},
		ReadBufferSize:    webSocketRead,
		WriteBufferSize:   webSocketWrite,
	}
	at := url.URL{Scheme: "wss", Host: to.address, Path: to.path}
	socket, response, err := dialer.DialContext(ctx, at.String(), nil)
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && response != nil:
		return nil, fmt.Errorf("%w (HTTP status %d)", errUpgrade, response.StatusCode)
	case isClosure(err):
		return nil, fmt.Errorf("the server closed the connection when it was asked for a WebSocket (%v); where the broker takes MQTT without one, write mqtts://", err)
	case err != nil:
		return nil, err
	case socket.Subprotocol() != subprotocol:
		return nil, fmt.Errorf("%w (it did not choose the subprotocol mqtt)", errUpgrade)
	}
	under.left = -1
	return &webSocket{Conn: socket}, nil
}

// carrier is the TLS connection as the WebSocket library sees it: what is read
// before the WebSocket is there is bounded, and every write has a deadline. (The
// library takes any deadline away before it writes.)
type carrier struct {
	net.Conn
	left         int // bytes that may be read; negative: any number
	writeTimeout time.Duration
}

func (c *carrier) Read(p []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, errors.New("its answer is too long")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	if begin := string(p[:min(n, len(httpBegin))]); c.left == upgradeBytes && !strings.HasPrefix(httpBegin, begin) {
		line, _, _ := strings.Cut(string(p[:min(n, foreignShown)]), "\n")
		return 0, fmt.Errorf("%w: %s answers there and no web server (%q)", errUpgrade, cmp.Or(whoAnswers(p[:n]), "something else"), strings.TrimSpace(line))
	}
	c.left -= n
	return n, err
}

func (c *carrier) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(c.writeTimeout)
	}
	return c.Conn.SetWriteDeadline(t)
}

// webSocket is a WebSocket as a stream of bytes.
type webSocket struct {
	*websocket.Conn
	frame io.Reader // nil: between two messages
}

func (s *webSocket) Read(p []byte) (int, error) {
	for {
		if s.frame == nil {
			kind, frame, err := s.NextReader()
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed):
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.BinaryMessage:
				return 0, protocolError(0x82, "it sent a text frame; MQTT over WebSocket is binary")
			}
			s.frame = frame
		}
		n, err := s.frame.Read(p)
		if err == io.EOF {
			s.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
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
