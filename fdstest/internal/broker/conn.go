package broker

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	batchBytes   = 16 << 10    // what one write gathers
	maxUnread    = 256 << 10   // of answers that a client does not read
	lingerPeriod = time.Second // for a client to read the last packet and close
)

var errDisconnected = errors.New("the client disconnected")

// A conn is one connection. Its reader goroutine lives as long as it does; a
// writer goroutine only while there is something to write.
type conn struct {
	broker *Broker
	raw    net.Conn // under the TLS
	stream net.Conn // the TLS
	reader frameReader
	owner  atomic.Pointer[owner] // nil until CONNECT is accepted

	stopped  chan struct{} // closed when no further packet is handled
	stopOnce sync.Once

	// Set by CONNECT.
	provider          bool
	keepAlive         time.Duration // 0: none
	receiveMaximum    int
	maximumPacketSize int
	expiryAsked       uint32

	// Guarded by the owner's lock.
	control []byte // encoded answers, which go before messages
	writing bool   // there is a writer
	inUse   int    // requests that were answered for Faults.IDsInUse
	ending  bool   // control ends with the last packet
}

func (c *conn) stop() { c.stopOnce.Do(func() { close(c.stopped) }) }

// kill closes the connection at once and without a word.
func (c *conn) kill() {
	c.stop()
	c.raw.Close()
}

// serve reads packets until the connection ends.
func (c *conn) serve() {
	defer c.broker.untrack(c)
	defer c.kill()
	o := c.owner.Load()

	err := c.readPackets()
	var wrong *packetError
	var panicked *codecPanic
	o.mu.Lock()
	switch {
	case c.ending, errors.Is(err, errDisconnected):
	case errors.As(err, &wrong):
		c.broker.config.Logger.Warn("connection ended for a packet", "client_id", o.clientID, "error", err)
		c.end(&packets.Disconnect{ReasonCode: wrong.code})
	case errors.As(err, &panicked):
		c.broker.config.Logger.Error("the codec panicked, connection ended", "client_id", o.clientID, "cause", panicked.describe())
		c.end(&packets.Disconnect{ReasonCode: packets.DisconnectMalformedPacket})
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.broker.config.Logger.Info("keep-alive ran out", "client_id", o.clientID, "keep_alive", c.keepAlive)
		c.end(&packets.Disconnect{ReasonCode: packets.DisconnectKeepAliveTimeout})
	default:
		c.broker.config.Logger.Debug("connection lost", "client_id", o.clientID, "error", err)
	}
	if o.conn == c {
		o.goOffline()
	}
	ending := c.ending
	o.mu.Unlock()
	if ending {
		c.drain()
	}
}

// drain reads until the client has closed or the deadline that end set has
// passed. A socket closed with unread data would be reset, and the client might
// never see the last packet.
func (c *conn) drain() {
	var discarded [512]byte
	for {
		if _, err := c.stream.Read(discarded[:]); err != nil {
			return
		}
	}
}

func (c *conn) readPackets() error {
	for {
		if !c.awaitPacket() {
			return nil
		}
		f, err := c.reader.next()
		if err != nil {
			return err
		}
		c.broker.waitWhileSilent(c, c.owner.Load().clientID)
		if err := c.handle(f); err != nil {
			return err
		}
	}
}

// awaitPacket sets how long the client may take for its next whole packet, 1.5
// times the keep-alive (MQTT 5.0 section 3.1.2.10). It says false when none is
// awaited any more.
func (c *conn) awaitPacket() bool {
	o := c.owner.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.ending {
		return false
	}
	if c.keepAlive > 0 {
		c.setKeepAlive(c.broker.faults.Load().of(o.clientID).Silent)
	}
	return true
}

// setKeepAlive starts the keep-alive period, or stops it for a silent broker.
// The caller holds the owner's lock.
func (c *conn) setKeepAlive(silent bool) {
	switch {
	case c.ending:
	case silent || c.keepAlive == 0:
		c.raw.SetReadDeadline(time.Time{})
	default:
		c.raw.SetReadDeadline(time.Now().Add(c.keepAlive + c.keepAlive/2))
	}
}

// handle does what a packet asks for. Its error ends the connection.
func (c *conn) handle(f frame) error {
	switch f.kind {
	case packets.PUBACK:
		if f.flags == 0 && (len(f.body) == 2 || len(f.body) == 3) { // nearly all of them: spare the codec
			return c.acknowledged(binary.BigEndian.Uint16(f.body))
		}
	case packets.CONNECT:
		return protocolError("a second CONNECT")
	case packets.AUTH:
		return protocolError("AUTH without an authentication method")
	case packets.PUBLISH, packets.SUBSCRIBE, packets.UNSUBSCRIBE, packets.PINGREQ, packets.DISCONNECT:
	default:
		return protocolError("packet type %d does not come from a client here", f.kind)
	}

	content, err := f.unpack()
	if err != nil {
		return err
	}
	switch p := content.(type) {
	case *packets.Puback:
		return c.acknowledged(p.PacketID)
	case *packets.Publish:
		return c.published(p)
	case *packets.Subscribe:
		return c.subscribe(p)
	case *packets.Unsubscribe:
		return c.unsubscribe(p)
	case *packets.Disconnect:
		return c.disconnected(p)
	default:
		return c.answer(&packets.Pingresp{})
	}
}

func (c *conn) acknowledged(packetID uint16) error {
	o := c.owner.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != c {
		return nil
	}
	if !o.session.acknowledge(packetID) {
		o.count.unknownAcks++
		return nil
	}
	o.count.acknowledged++
	o.changed = true
	c.kick()
	return nil
}

// disconnected ends the connection as the client wishes; it may set another
// session expiry unless it connected without one (MQTT 5.0 section 3.14.2.2.2).
func (c *conn) disconnected(p *packets.Disconnect) error {
	o := c.owner.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if asked := p.Properties.SessionExpiryInterval; asked != nil && o.conn == c {
		if c.expiryAsked == 0 && *asked != 0 {
			return protocolError("DISCONNECT with a session expiry after CONNECT with none")
		}
		o.session.expiry = c.broker.grantedExpiry(*asked)
	}
	return errDisconnected
}

// answer queues a packet that goes before all messages.
func (c *conn) answer(p packets.Packet) error {
	o := c.owner.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.answerLocked(p)
}

func (c *conn) answerLocked(p packets.Packet) error {
	if c.ending {
		return nil
	}
	c.control = appendPacket(c.control, p)
	if len(c.control) > maxUnread {
		return &packetError{packets.DisconnectQuotaExceeded, "the client does not read its answers"}
	}
	c.kick()
	return nil
}

// end sends DISCONNECT as the last packet, detaches the connection from its
// owner, and closes it when the client has, or after lingerPeriod. It never
// waits. The caller holds the owner's lock.
func (c *conn) end(last *packets.Disconnect) {
	if c.ending {
		return
	}
	if last.Properties == nil {
		last.Properties = &packets.Properties{}
	}
	if packedSize(last)+5 > c.maximumPacketSize {
		last.Properties = &packets.Properties{ServerReference: last.Properties.ServerReference}
	}
	c.ending = true
	c.control = appendPacket(c.control, last)
	if o := c.owner.Load(); o.conn == c {
		o.goOffline()
	}
	c.raw.SetReadDeadline(time.Now().Add(lingerPeriod)) // then the reader closes, also under a writer that is stuck
	c.stop()
	c.kick()
}

// kick starts a writer when there is something to write. The caller holds the
// owner's lock.
func (c *conn) kick() {
	if c.writing || !c.hasWork() {
		return
	}
	c.writing = true
	c.broker.goroutines.Add(1)
	go c.write()
}

func (c *conn) hasWork() bool {
	o := c.owner.Load()
	if c.ending {
		return len(c.control) > 0
	}
	if c.broker.faults.Load().of(o.clientID).Silent {
		return false
	}
	return len(c.control) > 0 || o.conn == c && o.session.ready(c.receiveMaximum)
}

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchBytes+4096); return &b }}

// write writes batches until there is nothing left.
func (c *conn) write() {
	defer c.broker.goroutines.Done()
	o := c.owner.Load()
	pooled := batches.Get().(*[]byte)
	defer batches.Put(pooled)
	for {
		o.mu.Lock()
		if !c.hasWork() {
			c.writing = false
			o.mu.Unlock()
			return
		}
		batch, cut := c.gather((*pooled)[:0])
		last := c.ending
		o.mu.Unlock()

		if len(batch) == 0 { // all that was due was too large for the client
			continue
		}
		if cap(batch) <= 4*batchBytes {
			*pooled = batch
		}
		c.raw.SetWriteDeadline(time.Now().Add(c.broker.config.WriteTimeout))
		if _, err := c.stream.Write(batch); err != nil {
			c.broker.config.Logger.Info("write failed, connection closed", "client_id", o.clientID, "error", err)
			c.kill()
			return
		}
		switch {
		case cut:
			c.kill()
			return
		case last:
			c.closeWrite()
			return
		}
	}
}

// closeWrite says that nothing follows; the client's side stays open, so that
// the last packet is not lost to a reset.
func (c *conn) closeWrite() {
	if secure, ok := c.stream.(*tls.Conn); ok {
		secure.CloseWrite()
	}
}

// gather encodes answers first and then messages, up to batchBytes. It says
// whether the batch ends within a packet that a fault cut. The caller holds the
// owner's lock.
func (c *conn) gather(batch []byte) (_ []byte, cut bool) {
	o := c.owner.Load()
	batch = append(batch, c.control...)
	c.control = nil
	if c.ending || o.conn != c {
		return batch, false
	}
	oversized := c.broker.faults.Load().of(o.clientID).IgnoreMaximumPacketSize
	for len(batch) < batchBytes {
		d := o.session.next(c.receiveMaximum)
		if d == nil {
			break
		}
		size := publishSize(d)
		if size > c.maximumPacketSize && !oversized {
			// To the client this is as if it had been sent (section 3.1.2.11.4).
			o.count.droppedTooLarge++
			if d.qos > 0 {
				o.session.forget(d)
			}
			continue
		}
		o.count.sent++
		if d.dup {
			o.count.redelivered++
		}
		batch = appendPublish(batch, d)
		if o.cutNext {
			o.cutNext = false
			return batch[:len(batch)-size/2], true
		}
	}
	return batch, false
}

// refuse answers a CONNECT that was not accepted and closes.
func (c *conn) refuse(connack []byte) {
	now := time.Now()
	c.raw.SetDeadline(now.Add(lingerPeriod))
	if _, err := c.stream.Write(connack); err != nil {
		return
	}
	c.closeWrite()
	c.drain()
}
