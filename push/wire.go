package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// lingerTime is what an ended connection has to send its DISCONNECT and to see
// the broker close. Closing with unread bytes would reset the connection, and a
// reset takes back acknowledgements that the broker has not read yet.
const lingerTime = time.Second

var errEnded = errors.New("push: the connection has ended")

// wire is the network connection in MQTT packets, a subscriber's part of them
// (quality of service 0 to 2, never a PUBLISH of its own, M7). One goroutine
// reads; whoever has something to say writes, each packet at once and under a
// deadline. It takes no broker at its word: a packet is bounded in size, in place
// and sound, or it ends the connection. And it knows why the connection ended
// before anyone else does.
type wire struct {
	net.Conn // TLS
	raw      net.Conn
	gate     *gate // raw, when TLS reads from it for nobody but this wire; else nil

	maxPacket      int
	receiveMaximum int
	writeTimeout   time.Duration

	account  *account                               // of what is read; nil: not counted
	onPause  func()                                 // called when reading pauses for it; must not block
	received func(*packets.Publish, time.Time) bool // a message was read; must not block, and may keep it; true: work must be called
	work     func(release func())                   // may take long; see line.work
	told     func()                                 // called once, at the end; nil: nobody asks
	observe  func(sent bool, packet []byte)         // told of each packet; nil: nobody is

	over       atomic.Bool // see end
	peerClosed bool        // the broker closed its side too; read after done

	writing chanMutex
	held    []byte        // acknowledgements that are written together with the next, in place where there is room; see hold
	place   [16]byte      // for held
	heldAt  time.Time     // when the first of them was
	holds   atomic.Bool   // there are some
	more    atomic.Bool   // the reader has more to read at once
	head    [5]byte       // the fixed header of a packet, the reader's alone
	toServe bool          // work must be called, the reader's alone
	greeted bool          // CONNACK has come, the reader's alone
	cost    int           // what the message at work takes of the account, the reader's alone
	spared  int           // see earlySpare; the reader's alone
	turn    atomic.Uint32 // odd: the reader is at work; one more than the last time

	began                  time.Time
	lastSent, lastReceived atomic.Int64 // since began
	mu                     sync.Mutex
	cause                  error         // of the end; nil: it has not come
	ended, done            chan struct{} // closed at the end, and when the reader has returned; nil: nobody waits
	returned               bool          // the reader has returned
	connected, subscribed  bool          // CONNACK, SUBACK has come
	awaited                byte          // the type of packet that exchange waits for, or 0
	awaitedID              uint16        // its packet identifier
	answer                 chan<- packets.Packet
	unacked                map[uint16]uint64 // messages of quality of service 1 and 2 that await PUBACK or PUBREC, by packet identifier: their fingerprints
	readable               sync.Cond         // mu: unacked has become shorter, or the connection has ended
	early                  int               // see earlyBytes
	paused                 bool              // the reader waits, for readable or the budget
	pingTimer              *time.Timer
	pingIdle, pingAnswer   time.Duration
	pingGrid               time.Duration // see aligned
	pingAt                 time.Duration // since began; 0: no ping is unanswered
}

func newWire(conn, raw net.Conn, s *settings) *wire {
	w := &wire{
		Conn: conn, raw: raw,
		maxPacket: s.MaxPacketSize, receiveMaximum: int(s.ReceiveMaximum), writeTimeout: s.WriteTimeout,
		writing: make(chanMutex, 1), began: time.Now(),
	}
	w.readable.L = &w.mu
	if _, direct := conn.(*tls.Conn); direct {
		if w.gate, _ = raw.(*gate); w.gate != nil {
			w.gate.waits = w.flush
		}
	}
	return w
}

// why returns the cause of the end; nil: it has not come.
func (w *wire) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// end marks the connection as over and reports whether it was not yet; the first
// cause counts. From now on only a DISCONNECT is written, so that nothing is
// acknowledged which was not handled.
func (w *wire) end(cause error) bool {
	w.mu.Lock()
	if w.cause != nil {
		w.mu.Unlock()
		return false
	}
	w.cause = cause
	if w.pingTimer != nil {
		w.pingTimer.Stop()
	}
	w.over.Store(true)
	if w.ended != nil {
		close(w.ended)
	}
	if w.answer != nil {
		close(w.answer)
		w.answer, w.awaited = nil, 0
	}
	w.readable.Signal()
	w.mu.Unlock()
	if w.told != nil {
		w.told()
	}
	return true
}

func (w *wire) hasEnded() bool { return w.over.Load() }

// untilEnded returns a channel that is closed at the end.
func (w *wire) untilEnded() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return closedWhen(&w.ended, w.cause != nil)
}

// untilDone returns a channel that is closed when the reader has returned.
func (w *wire) untilDone() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return closedWhen(&w.done, w.returned)
}

// closedWhen returns the channel, which it makes, closed if it is to be.
func closedWhen(c *chan struct{}, closed bool) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
		if closed {
			close(*c)
		}
	}
	return *c
}

// isDone notes that the reader has returned.
func (w *wire) isDone() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returned = true
	if w.done != nil {
		close(w.done)
	}
}

// fail ends the connection without a word to the broker, which is not there or
// not listening. One that finish has ended is left to the reader, within
// lingerTime.
func (w *wire) fail(cause error) {
	if w.end(cause) {
		_ = w.raw.Close()
	}
}

// finish ends the connection with a DISCONNECT and reports whether it was written.
// The reader sees to the rest.
func (w *wire) finish(cause error, goodbye *packets.Disconnect) bool {
	if !w.end(cause) {
		return false
	}
	deadline := time.Now().Add(lingerTime)
	// TLS and the WebSocket library have deadlines of their own for their last words.
	defer time.AfterFunc(lingerTime, func() { _ = w.raw.Close() }).Stop()
	_ = w.raw.SetWriteDeadline(deadline)
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.raw.SetDeadline(deadline)
	last := w.takeHeld(encode(goodbye))
	w.observeSent(last)
	if _, err := w.Conn.Write(last); err != nil {
		_ = w.raw.Close()
		return false
	}
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = w.raw.SetReadDeadline(deadline)
	return true
}

// chanMutex, with room for one, is a mutex that testing/synctest knows: it is held over the
// network.
type chanMutex chan struct{}

func (m chanMutex) Lock()   { m <- struct{}{} }
func (m chanMutex) Unlock() { <-m }

// encode returns a packet as it goes over the network.
func encode(packet packets.Packet) []byte {
	var b bytes.Buffer
	_, _ = packet.WriteTo(&b) // to memory
	return b.Bytes()
}

// exchange sends a request and waits for its answer, a packet of the given type
// with the request's packet identifier. From the CONNECT on the reader is at work, until
// the end.
func (w *wire) exchange(ctx context.Context, request packets.Packet, kind byte, id uint16) (packets.Packet, error) {
	answer := make(chan packets.Packet, 1)
	w.mu.Lock()
	if w.cause == nil {
		w.awaited, w.awaitedID, w.answer = kind, id, answer
	} else {
		close(answer)
	}
	w.mu.Unlock()
	stop := func() bool { return true }
	if kind != packets.CONNACK { // what ends a connect its caller does
		stop = context.AfterFunc(ctx, func() { w.fail(fmt.Errorf("push: the broker takes no request: %w", ctx.Err())) })
	}
	err := w.write(request)
	stop()
	if kind == packets.CONNACK {
		if err != nil {
			w.isDone()
		} else {
			go w.read(nil)
		}
	}
	if err != nil {
		return nil, err
	}
	select {
	case packet, ok := <-answer:
		if !ok {
			return nil, errEnded
		}
		return packet, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write sends a packet. An error has ended the connection.
func (w *wire) write(packet packets.Packet) error {
	if _, publishes := packet.(*packets.Publish); publishes {
		return errors.New("push: a client application only subscribes (M7)")
	}
	encoded := encode(packet)
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.send(encoded)
}

// receipt is of a message that was handled.
type receipt struct {
	packetID uint16
	qos      byte
}

// acknowledge tells the broker that messages were handled, in that order. An error means that
// it was not told, or may not have been.
func (w *wire) acknowledge(handled ...receipt) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	for _, r := range handled {
		delete(w.unacked, r.packetID) // before the write: the next message may come before it returns
	}
	if w.paused {
		w.readable.Signal()
	}
	w.mu.Unlock()
	if w.hasEnded() {
		return errEnded
	}
	if len(w.held) == 0 {
		w.held, w.heldAt = w.place[:0], time.Now()
	}
	for _, r := range handled {
		kind := byte(packets.PUBACK)
		if r.qos == 2 {
			kind = packets.PUBREC
		}
		w.held = append(w.held, kind<<4, 2, byte(r.packetID>>8), byte(r.packetID)) // reason code 0 is left out (MQTT 5.0 section 3.4.2.1)
	}
	if w.hold() {
		w.holds.Store(true)
		return nil
	}
	return w.send(nil)
}

const (
	heldAtOnce = 16                   // acknowledgements
	heldFor    = 2 * time.Millisecond // and the next, or the reader before it waits, writes them
)

// hold reports whether acknowledgements may wait for the next: the reader serves, and has more to
// read already. Of many messages that come together each would else cost a record of its own.
// The caller holds writing.
func (w *wire) hold() bool {
	most := min(heldAtOnce, w.receiveMaximum/2)
	return w.turn.Load()%2 == 1 && w.more.Load() && len(w.held) < 4*most && time.Since(w.heldAt) < heldFor && !w.hasEnded()
}

// flush writes what is held.
func (w *wire) flush() {
	if !w.holds.Load() {
		return
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	if len(w.held) > 0 {
		_ = w.send(nil) // an error has ended the connection
	}
}

// takeHeld returns what is held and then packet, to be written. The caller holds writing.
func (w *wire) takeHeld(packet []byte) []byte {
	packet = append(w.held, packet...)
	w.held = nil
	w.holds.Store(false)
	return packet
}

// send writes what is held and a packet, if there is one, as one record. The caller holds writing.
func (w *wire) send(packet []byte) error {
	now := time.Now()
	_ = w.raw.SetWriteDeadline(now.Add(w.writeTimeout)) // before the look at ended: finish shortens it
	if w.hasEnded() {
		return errEnded // what is held is left to finish
	}
	packet = w.takeHeld(packet)
	w.observeSent(packet)
	if _, err := w.Conn.Write(packet); err != nil {
		w.fail(lost(w.refusal(err)))
		return errEnded
	}
	_ = w.raw.SetWriteDeadline(time.Time{}) // TLS answers a request for new keys itself, at any time
	w.lastSent.Store(int64(now.Sub(w.began)))
	return nil
}

// refusal returns the broker's TLS alert when writing the CONNECT failed: under
// TLS 1.3 the refusal of a client certificate comes only after the handshake, and
// the write may notice the closed connection first.
func (w *wire) refusal(writeErr error) error {
	w.mu.Lock()
	connected := w.connected
	w.mu.Unlock()
	if connected {
		return writeErr
	}
	_ = w.raw.SetReadDeadline(time.Now().Add(lingerTime))
	if _, err := w.Conn.Read(make([]byte, 1)); tlspolicy.Alert(err) != "" {
		return err
	}
	return writeErr
}

// lostError is what ended a connection that was there.
type lostError struct{ cause error }

func (e *lostError) Error() string { return "push: connection lost: " + e.cause.Error() }

func (e *lostError) Unwrap() error { return e.cause }

// Is matches fds.ErrUnavailable: the connection is made again.
func (e *lostError) Is(target error) bool { return target == fds.ErrUnavailable }

// closures are the errors of a connection that the other side has closed. The
// numbers are WSAECONNABORTED and WSAECONNRESET: on Windows they are what comes,
// and ECONNRESET does not match them; elsewhere they mean nothing.
var closures = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.Errno(10053), syscall.Errno(10054)}

// lost words the error by which the network ended the connection.
func lost(err error) error {
	if isClosure(err) {
		err = fds.ErrConnectionClosed
	}
	return &lostError{err}
}

func isClosure(err error) bool {
	return slices.ContainsFunc(closures, func(closed error) bool { return errors.Is(err, closed) })
}

// isBare reports whether err ended a connection that was there, without a reason.
func isBare(err error) bool {
	var gone *lostError
	return errors.As(err, &gone) && errors.Is(err, fds.ErrConnectionClosed)
}
