package push

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// lingerTime is what an ended connection has to send its DISCONNECT and to see
// the broker close. Closing with unread bytes would reset the connection, and a
// reset takes back acknowledgements that the broker has not read yet.
const lingerTime = time.Second

var errEnded = errors.New("push: the connection has ended")

// wire is the network connection as paho sees it. It stands between the two
// because paho takes a broker at its word: wire lets only sound packets of a
// bounded size through, takes out what paho must not see (DISCONNECT, messages of
// quality of service 0), writes each packet at once and under a deadline, and
// knows why the connection ended before anyone else does.
type wire struct {
	net.Conn // TLS
	raw      net.Conn

	maxPacket      int
	receiveMaximum int
	writeTimeout   time.Duration

	atMostOnce   func(*packets.Publish) // a message of quality of service 0 was read; must not block
	acknowledged func(packetID uint16)  // an acknowledgement was written

	ended chan struct{} // closed at the end, before the connection is closed

	writing baton
	out     []byte // of the packet being assembled

	reading baton
	in      []byte // rest of the packet that paho is reading
	body    []byte // memory of the last packet, if small

	began                  time.Time
	lastSent, lastReceived atomic.Int64 // since began
	mu                     sync.Mutex
	cause                  error
	connack                *packets.Connack
	unacked                map[uint16]time.Time // when messages of quality of service 1 and 2 arrived that await PUBACK or PUBREC, by packet ID
	room                   *sync.Cond           // mu: unacked has become shorter, or the connection has ended
	paused                 bool                 // the reader waits for room
	pingTimer              *time.Timer
	pingIdle, pingAnswer   time.Duration
	pingAt                 time.Duration // since began; 0: no ping is unanswered
}

func newWire(conn, raw net.Conn, s *settings) *wire {
	w := &wire{
		Conn: conn, raw: raw,
		maxPacket: s.MaxPacketSize, receiveMaximum: int(s.ReceiveMaximum), writeTimeout: s.WriteTimeout,
		ended: make(chan struct{}), writing: newBaton(), reading: newBaton(), began: time.Now(), unacked: make(map[uint16]time.Time),
	}
	w.room = sync.NewCond(&w.mu)
	return w
}

// why gives the cause of the end, after ended is closed.
func (w *wire) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// end marks the connection as over; the first cause counts. From now on only a
// DISCONNECT is written, so that nothing is acknowledged which was not handled.
func (w *wire) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.cause = cause
	if w.pingTimer != nil {
		w.pingTimer.Stop()
	}
	close(w.ended)
	w.room.Signal()
}

func (w *wire) hasEnded() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

// fail ends the connection without a word to the broker, which is not there or
// not listening.
func (w *wire) fail(cause error) {
	w.end(cause)
	_ = w.raw.Close()
}

// Close is for paho, which closes by itself only when it cannot read a packet
// that was let through.
func (w *wire) Close() error {
	w.fail(&lostError{fmt.Errorf("%w: it sent a packet that cannot be read", ErrProtocol)})
	return nil
}

// finish ends the connection with a DISCONNECT and says whether it was written.
// The reader sees to the rest.
func (w *wire) finish(cause error, goodbye *packets.Disconnect) bool {
	w.end(cause)
	deadline := time.Now().Add(lingerTime)
	_ = w.raw.SetWriteDeadline(deadline)
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.raw.SetDeadline(deadline)
	var packet buffer
	_, _ = goodbye.WriteTo(&packet) // to memory
	if _, err := w.Conn.Write(packet); err != nil {
		_ = w.raw.Close()
		return false
	}
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = w.raw.SetReadDeadline(deadline)
	return true
}

// baton is a mutex that testing/synctest knows: it is held over the network.
type baton chan struct{}

func newBaton() baton { return make(baton, 1) }

func (b baton) Lock()   { b <- struct{}{} }
func (b baton) Unlock() { <-b }

// buffer collects what is written to it.
type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// Lock and Unlock are how paho keeps the parts of one packet together.
func (w *wire) Lock() { w.writing.Lock() }

// Unlock forgets a packet that was not completed.
func (w *wire) Unlock() {
	if cap(w.out) > 1<<10 {
		w.out = nil
	}
	w.out = w.out[:0]
	w.writing.Unlock()
}

// Write collects the parts of a packet and sends it as one record when it is
// whole. The caller holds Lock.
func (w *wire) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	header, length, ok := fixedHeader(w.out)
	if !ok || len(w.out) < header+length {
		return len(p), nil
	}
	packet := w.out
	w.out = w.out[:0]
	if err := w.send(packet, header); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *wire) send(packet []byte, header int) error {
	kind := packet[0] >> 4
	if kind == packets.PUBLISH {
		return errors.New("push: a client application only subscribes (M7)")
	}
	_ = w.raw.SetWriteDeadline(time.Now().Add(w.writeTimeout)) // before the look at ended: finish shortens it
	if w.hasEnded() {
		return errEnded
	}
	var id uint16
	acknowledges := kind == packets.PUBACK || kind == packets.PUBREC // not PUBCOMP: for that, a broker need only ask
	if acknowledges {
		id = uint16(packet[header])<<8 | uint16(packet[header+1])
		w.mu.Lock()
		delete(w.unacked, id) // before the write: the next message may come before it returns
		w.room.Signal()
		w.mu.Unlock()
	}
	if _, err := w.Conn.Write(packet); err != nil {
		w.fail(lost(w.refusal(err)))
		return errEnded
	}
	w.lastSent.Store(int64(time.Since(w.began)))
	if acknowledges {
		w.acknowledged(id)
	}
	return nil
}

// arrival says when an unacknowledged message arrived.
func (w *wire) arrival(packetID uint16) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unacked[packetID]
}

// refusal gives the broker's TLS alert when writing the CONNECT failed: under
// TLS 1.3 the refusal of a client certificate comes only after the handshake, and
// the write may notice the closed connection first.
func (w *wire) refusal(writeErr error) error {
	w.mu.Lock()
	connected := w.connack != nil
	w.mu.Unlock()
	if connected {
		return writeErr
	}
	_ = w.raw.SetReadDeadline(time.Now().Add(lingerTime))
	if _, err := w.Conn.Read(make([]byte, 1)); isAlert(err) {
		return err
	}
	return writeErr
}

// lostError is what ended a connection that was there.
type lostError struct{ cause error }

func (e *lostError) Error() string { return "push: connection lost: " + e.cause.Error() }

func (e *lostError) Unwrap() error { return e.cause }

// closures are the errors of a connection that the other side has closed. The
// numbers are WSAECONNABORTED and WSAECONNRESET: on Windows they are what comes,
// and ECONNRESET does not match them; elsewhere they mean nothing.
var closures = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.Errno(10053), syscall.Errno(10054)}

// lost words the error by which the network ended the connection.
func lost(err error) error {
	for _, closed := range closures {
		if errors.Is(err, closed) {
			err = ErrClosed
		}
	}
	return &lostError{err}
}

// isBare says whether err ended a connection that was there, without a reason.
func isBare(err error) bool {
	var gone *lostError
	return errors.As(err, &gone) && errors.Is(err, ErrClosed)
}

// Read gives paho the bytes of one packet after the other.
func (w *wire) Read(p []byte) (int, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	for len(w.in) == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

// next reads a packet into w.in, or an empty one when paho must not see it. After
// the end it reads until the broker has closed too.
func (w *wire) next() error {
	if w.hasEnded() {
		_, _ = io.Copy(io.Discard, w.Conn)
		_ = w.raw.Close()
		return errEnded
	}
	packet, header, err := w.readPacket()
	if err == nil {
		err = w.inspect(packet, header)
	}
	var broken *violation
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broken):
		w.finish(broken.err, &packets.Disconnect{ReasonCode: broken.code, Properties: &packets.Properties{}})
		return nil // and linger
	case w.hasEnded():
		return nil
	}
	w.fail(lost(err))
	return errEnded
}

// readPacket reads one packet, whole, into memory that the next call reuses. A
// length beyond the limit is refused before any memory is taken for it, and
// memory grows only as bytes arrive.
func (w *wire) readPacket() (packet []byte, header int, err error) {
	buf := append(w.body[:0], 0, 0)
	if err := w.fill(buf); err != nil {
		return nil, 0, err
	}
	length, ok := 0, false
	for {
		if header, length, ok = fixedHeader(buf); ok {
			break
		}
		if len(buf) == 5 {
			return nil, 0, protocolError(0x81, "the length of a packet is malformed")
		}
		buf = append(buf, 0)
		if err := w.fill(buf[len(buf)-1:]); err != nil {
			return nil, 0, err
		}
	}
	if header+length > w.maxPacket {
		return nil, 0, &violation{0x95, &lostError{fmt.Errorf("%w: the broker sent one of %d bytes, the limit is %d; raise MaxPacketSize if that is genuine", ErrPacketTooLarge, header+length, w.maxPacket)}}
	}
	for total := header + length; len(buf) < total; {
		at := len(buf)
		buf = append(buf, make([]byte, min(total-at, max(at, 32<<10)))...)
		if err := w.fill(buf[at:]); err != nil {
			return nil, 0, err
		}
	}
	w.body = nil
	if cap(buf) <= 2<<10 {
		w.body = buf
	}
	return buf, header, nil
}

// fill reads all of p and notes, also on the way, that the broker is alive: a
// large packet may take a slow network longer than the keep-alive time.
func (w *wire) fill(p []byte) error {
	for len(p) > 0 {
		n, err := w.Conn.Read(p)
		if n > 0 {
			w.lastReceived.Store(int64(time.Since(w.began)))
		}
		if p = p[n:]; err != nil && len(p) > 0 {
			return err
		}
	}
	return nil
}

// fixedHeader reads the fixed header of a packet (MQTT 5.0 section 2.1): how many
// bytes it has and how many follow. ok is false while it is not complete.
func fixedHeader(packet []byte) (header, length int, ok bool) {
	if len(packet) < 2 {
		return 0, 0, false
	}
	length, n := variableInt(packet[1:])
	return 1 + n, length, n > 0
}

// variableInt reads a variable byte integer of at most four bytes (MQTT 5.0
// section 1.5.5) and gives its value and length; the length is 0 when it is
// incomplete or too long.
func variableInt(p []byte) (value, n int) {
	for i := 0; i < min(len(p), 4); i++ {
		value |= int(p[i]&0x7F) << (7 * i)
		if p[i] < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}

// awaitReader returns once no Read is under way.
func (w *wire) awaitReader() {
	w.reading.Lock()
	defer w.reading.Unlock()
}
