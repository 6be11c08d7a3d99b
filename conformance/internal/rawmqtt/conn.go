package rawmqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// lingerTime is what the broker has to close its side after DISCONNECT, and what the reader has
// to find out why a write has failed.
const lingerTime = time.Second

// Refusal is the broker's word by which it denied something, or ended the connection.
type Refusal struct {
	Packet string
	Code   byte
	Reason string // what the broker says besides, of at most 256 bytes
}

func (e *Refusal) Error() string {
	text := fmt.Sprintf("%s %s", e.Packet, CodeName(e.Code))
	if e.Reason != "" {
		text += fmt.Sprintf(", the broker says %q", e.Reason)
	}
	return text
}

// SaysNothing reports whether the broker was busy or out of order, or did not understand, and so
// has judged nothing.
func (e *Refusal) SaysNothing() bool {
	if e.Packet == connack311 {
		return e.Code == 1 || e.Code == 3 // it speaks no MQTT 5.0, or is not available
	}
	return slices.Contains([]byte{
		0x81, 0x82, 0x84, // malformed packet, protocol error, unsupported protocol version
		0x88, 0x89, 0x8B, 0x8D, // server unavailable, busy, shutting down; keep alive timeout
		0x93, 0x96, 0x97, // receive maximum exceeded, message rate too high, quota exceeded
		0x9C, 0x9D, 0x9F, // use another server, server moved, connection rate exceeded
	}, e.Code)
}

const connack311 = "CONNACK of MQTT 3.1.1"

// CodeName returns a reason code with the name that it has in MQTT 5.0 section 2.4.
func CodeName(code byte) string {
	text := (&packets.Connack{ReasonCode: code}).Reason()
	if text == "" {
		text = (&packets.Disconnect{ReasonCode: code}).Reason()
	}
	name, _, _ := strings.Cut(text, " - ")
	if name == "" || code == 0 {
		return fmt.Sprintf("0x%02X", code)
	}
	return fmt.Sprintf("0x%02X (%s)", code, strings.ToLower(name))
}

func refusal(packet string, code byte, properties *packets.Properties) *Refusal {
	e := &Refusal{Packet: packet, Code: code}
	if properties != nil {
		e.Reason = strings.ToValidUTF8(properties.ReasonString[:min(len(properties.ReasonString), maxReason)], "")
	}
	return e
}

// ErrClosed: the broker closed the connection without a word.
var ErrClosed = errors.New("the broker closed the connection")

// closures are the errors of a connection that the other side has closed; the numbers are
// Windows' WSAECONNABORTED and WSAECONNRESET.
var closures = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.Errno(10053), syscall.Errno(10054)}

// IsClosure reports whether err is that of a connection that the other side has closed.
func IsClosure(err error) bool {
	return errors.Is(err, ErrClosed) || slices.ContainsFunc(closures, func(closed error) bool { return errors.Is(err, closed) })
}

// Conn is a connection. One goroutine uses it; another one, its own, reads until Close.
type Conn struct {
	stream, raw net.Conn
	received    func(Message) bool

	answers chan any
	ended   chan struct{} // closed: nothing more is read, and why says why
	why     error

	writing sync.Mutex
	lastID  uint16
}

// New makes a connection out of a stream, TLS or a WebSocket, and of the network connection under
// it, which it closes in the end. received is told each message, from a goroutine of the
// connection's, and reports whether it is to be acknowledged; it must not block.
func New(stream, raw net.Conn, received func(Message) bool) *Conn {
	c := &Conn{stream: stream, raw: raw, received: received, answers: make(chan any, 16), ended: make(chan struct{})}
	go c.read()
	return c
}

// Ended is closed when the connection has ended.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Err returns why the connection has ended: a *Refusal for a DISCONNECT, or an error that matches
// ErrClosed or ErrBroken, or of TLS. Nil while it lives.
func (c *Conn) Err() error {
	select {
	case <-c.ended:
		return c.why
	default:
		return nil
	}
}

// read takes packets until the connection ends.
func (c *Conn) read() {
	defer close(c.ended)
	from := &reader{from: c.stream, left: maxBytes}
	for {
		packet, err := from.next()
		if err != nil {
			if c.why = err; IsClosure(err) {
				c.why = ErrClosed
			}
			return
		}
		switch p := packet.(type) {
		case *Message:
			if c.received(*p) && p.QoS == 1 {
				_ = c.write(&packets.Puback{PacketID: p.packetID, Properties: &packets.Properties{}}) // the next read tells
			}
		case *packets.Disconnect:
			c.why = refusal("DISCONNECT", p.ReasonCode, p.Properties)
			return
		case *packets.Connack, *packets.Suback, *packets.Unsuback, *packets.Puback, *packets.Pingresp:
			select {
			case c.answers <- packet:
			default:
				c.why = broken("answers without a request")
				return
			}
		case *packets.Pubrel: // of a message that is not ours
		default:
			c.why = broken("a packet that no client has asked for")
			return
		}
	}
}

func (c *Conn) write(packet packets.Packet) error {
	var encoded bytes.Buffer
	if _, err := packet.WriteTo(&encoded); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.stream.Write(encoded.Bytes())
	return err
}

// send writes a packet, and closes the connection when ctx ends meanwhile.
func (c *Conn) send(ctx context.Context, packet packets.Packet) error {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	err := c.write(packet)
	if !stop() && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	// Why the broker has closed, an alert or a DISCONNECT, is for the reader to find.
	late := time.NewTimer(lingerTime)
	defer late.Stop()
	select {
	case <-c.ended:
		return c.why
	case <-late.C:
		return err
	}
}

// ask sends a request and returns the answer to it, which match knows.
func ask[P any](ctx context.Context, c *Conn, request packets.Packet, match func(P) bool) (answer P, err error) {
	if err := c.Err(); err != nil {
		return answer, err
	}
	if err := c.send(ctx, request); err != nil {
		return answer, err
	}
	for {
		select {
		case packet := <-c.answers:
			if p, ok := packet.(P); ok && match(p) {
				return p, nil
			}
		case <-c.ended:
			for len(c.answers) > 0 { // which came before the end
				if p, ok := (<-c.answers).(P); ok && match(p) {
					return p, nil
				}
			}
			return answer, c.why
		case <-ctx.Done():
			return answer, context.Cause(ctx)
		}
	}
}

// nextID returns a packet identifier, of the upper half: some brokers mistake one for that of a
// message in flight.
func (c *Conn) nextID() uint16 {
	c.lastID++
	return 1<<15 | c.lastID
}

// Connect is what CONNECT says.
type Connect struct {
	ClientID       string
	CleanStart     bool
	SessionExpiry  uint32 // seconds
	ReceiveMaximum uint16
}

// Connack is what the broker granted.
type Connack struct {
	SessionPresent   bool
	AssignedClientID string // "": the broker took the client's own
}

// Connect connects. A refusal of the broker's is a *Refusal.
func (c *Conn) Connect(ctx context.Context, as Connect) (Connack, error) {
	size := uint32(MaxPacket)
	connack, err := ask(ctx, c, &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: as.ClientID, CleanStart: as.CleanStart, KeepAlive: keepAlive,
		Properties: &packets.Properties{
			SessionExpiryInterval: &as.SessionExpiry, ReceiveMaximum: &as.ReceiveMaximum, MaximumPacketSize: &size,
			User: []packets.User{{Key: "user-agent", Value: "fds-go conformance"}},
		},
	}, func(*packets.Connack) bool { return true })
	if err != nil {
		return Connack{}, err
	}
	if connack.ReasonCode != 0 {
		return Connack{}, refusal("CONNACK", connack.ReasonCode, connack.Properties)
	}
	return Connack{SessionPresent: connack.SessionPresent, AssignedClientID: connack.Properties.AssignedClientID}, nil
}

// keepAlive, in seconds, is longer than a check, and lets a broker forget a checker that died.
const keepAlive = 120

// Subscribe subscribes with quality of service 0, of which nothing is kept for a client that is
// away, and asks for retained messages. A refusal of the broker's is a *Refusal.
func (c *Conn) Subscribe(ctx context.Context, filter string) error {
	id := c.nextID()
	suback, err := ask(ctx, c, &packets.Subscribe{
		PacketID: id, Properties: &packets.Properties{}, Subscriptions: []packets.SubOptions{{Topic: filter}},
	}, func(p *packets.Suback) bool { return p.PacketID == id })
	switch {
	case err != nil:
		return err
	case len(suback.Reasons) != 1:
		return broken("a SUBACK answers %d filters, of 1", len(suback.Reasons))
	case suback.Reasons[0] >= 0x80:
		return refusal("SUBACK", suback.Reasons[0], suback.Properties)
	}
	return nil
}

// Unsubscribe ends subscriptions. That one did not exist is no error.
func (c *Conn) Unsubscribe(ctx context.Context, filters ...string) error {
	id := c.nextID()
	unsuback, err := ask(ctx, c, &packets.Unsubscribe{PacketID: id, Properties: &packets.Properties{}, Topics: filters},
		func(p *packets.Unsuback) bool { return p.PacketID == id })
	if err != nil {
		return err
	}
	for _, code := range unsuback.Reasons {
		if code >= 0x80 {
			return refusal("UNSUBACK", code, unsuback.Properties)
		}
	}
	return nil
}

// Publish publishes, never retained, with quality of service 0 or 1; the message expires after
// some seconds. With 0 nobody answers; with 1 a refusal of the broker's is a *Refusal.
func (c *Conn) Publish(ctx context.Context, topic, payload string, qos byte) error {
	expiry := uint32(messageExpiry)
	packet := &packets.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Properties: &packets.Properties{MessageExpiry: &expiry}}
	if qos == 0 {
		if err := c.Err(); err != nil {
			return err
		}
		return c.send(ctx, packet)
	}
	packet.PacketID = c.nextID()
	puback, err := ask(ctx, c, packets.Packet(packet), func(p *packets.Puback) bool { return p.PacketID == packet.PacketID })
	if err != nil {
		return err
	}
	if puback.ReasonCode >= 0x80 {
		return refusal("PUBACK", puback.ReasonCode, puback.Properties)
	}
	return nil
}

// messageExpiry, in seconds, is how long a broker may keep a probe for someone who is away.
const messageExpiry = 30

// Ping returns once the broker has answered to all that was sent before.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := ask(ctx, c, &packets.Pingreq{}, func(*packets.Pingresp) bool { return true })
	return err
}

// Close ends the connection with DISCONNECT and returns when its goroutine has ended, after about
// a second at the latest. endSession has the broker forget the session, which otherwise stays as
// long as CONNECT said.
func (c *Conn) Close(endSession bool) {
	goodbye := &packets.Disconnect{Properties: &packets.Properties{}}
	if endSession {
		goodbye.Properties.SessionExpiryInterval = new(uint32)
	}
	late := time.AfterFunc(lingerTime, func() { _ = c.raw.Close() })
	if c.Err() == nil && c.write(goodbye) == nil {
		if half, ok := c.stream.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		<-c.ended
	}
	late.Stop()
	_ = c.raw.Close()
	<-c.ended
}
