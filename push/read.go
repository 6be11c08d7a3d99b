package push

import (
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

// Read reads from the network and notes that the broker is alive, also in the
// middle of a packet: a large one may take a slow network longer than the
// keep-alive time. There is no buffer, since TLS has one.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		if w.gate != nil {
			w.gate.patient = false
		}
		w.lastReceived.Store(int64(time.Since(w.began)))
	}
	return n, err
}

// atWork counts the readers of all connections that do not wait. When there are as many as
// processors, a new goroutine comes into being without the cost of waking a processor for it.
var atWork atomic.Int32

func busy() bool { return int(atWork.Load()) >= runtime.GOMAXPROCS(0) }

// await reads on once there is something to read. Its goroutine is a new one, whose stack is as
// small as they come, and stays so until then: thousands of connections wait here. A stack that
// has grown is given up when the broker has answered, as it does a ping: then there was no message
// for a while. And when many connections have messages at once: each then takes the stack that the
// one before has left. Else a new goroutine for each message would cost more than most handlers do.
func (w *wire) await() {
	err := w.gate.await()
	grow()
	w.read(err)
}

// grow makes the stack large enough at once for what is done with a message, which two steps in
// the middle of it would do for more.
//
//go:noinline
func grow() {
	var room [4 << 10]byte
	runtime.KeepAlive(&room)
}

// read takes one packet after the other until the connection has ended, and then
// reads on until the broker has closed it too; see lingerTime. Where there is nothing to read it
// leaves that to await. It begins with an error of the network, if there is one.
func (w *wire) read(err error) {
	reader := true
	w.mu.Lock()
	w.greeted = w.connected
	w.mu.Unlock()
	defer func() {
		if !reader {
			return
		}
		w.refund()              // for the message at which a function of the application ended this goroutine
		w.fail(errReaderExited) // unless it has ended, as it has when the loop was left
		_ = w.raw.Close()
		w.isDone()
	}()
	atWork.Add(1)
	defer atWork.Add(-1)
	quiet := true // there was no message since the last wait
	for !w.hasEnded() {
		var packet []byte
		var header int
		if err == nil {
			w.patient()
			if packet, header, err = w.readPacket(); err == nil && w.observe != nil {
				w.observe(false, packet)
			}
		}
		switch {
		case err == errNothingYet && (quiet || busy()):
			w.flush()
			reader = false
			go w.await()
			return
		case err == errNothingYet:
			w.flush()
			atWork.Add(-1)
			err, quiet = w.gate.await(), true
			atWork.Add(1)
			continue
		case err == nil:
			quiet = quiet && packet[0]>>4 != packets.PUBLISH
			err = w.inspect(packet, header)
		}
		w.refund()
		var broken *violation
		switch {
		case err == nil || w.hasEnded():
		case errors.As(err, &broken):
			w.finish(broken.err, &packets.Disconnect{ReasonCode: broken.code, Properties: &packets.Properties{}})
		default:
			w.fail(lost(err))
		}
		if err == nil && w.toServe {
			reader = false // the line replaces one that the handler ends
			if reader = w.serve(); !reader {
				return
			}
		}
		err = nil
	}
	if w.gate != nil {
		w.gate.patient = false
	}
	_, err = io.Copy(io.Discard, w.Conn)
	w.peerClosed = err == nil || isClosure(err)
}

// patient has the next packet not waited for in TLS, where that can be.
func (w *wire) patient() {
	if w.gate != nil {
		w.gate.patient = w.gate.raw != nil
	}
}

// serve has the reader see to what it has received, and reports whether it has reclaimed the
// reading: it is still the reader then.
func (w *wire) serve() bool {
	w.toServe = false
	w.more.Store(w.gate != nil && len(w.gate.data) > 0)
	turn := w.turn.Add(1)
	w.work(w.release)
	return w.turn.CompareAndSwap(turn, turn+1)
}

// release has another goroutine read while the reader serves. Of a turn that has just ended
// it may come late, and releases the next one, which does no harm.
func (w *wire) release() {
	if turn := w.turn.Load(); turn%2 == 1 && w.turn.CompareAndSwap(turn, turn+1) {
		go w.read(nil)
		w.flush()
	}
}

// errReaderExited: a hook or the logger called runtime.Goexit.
var errReaderExited = errors.New("push: a function of the application ended the goroutine that reads")

// maxWithoutMessage bounds the packets other than PUBLISH, in bytes. The codec decodes
// all their properties, and takes hundreds of times their size for small ones; a
// message's are walked in place.
const maxWithoutMessage = 64 << 10

// readPacket reads one packet, whole, into memory of its own. A length beyond the
// limit is refused before any memory is taken for it, and memory grows only as
// bytes arrive.
func (w *wire) readPacket() (packet []byte, header int, err error) {
	first := &w.head
	length := 0
	for n := 0; header == 0; {
		if n == len(first) {
			return nil, 0, protocolError(0x81, "the length of a packet is malformed")
		}
		least := 1
		if n == 0 {
			least = 2 // the shortest packet
		}
		got, err := io.ReadFull(w, first[n:n+least])
		if err != nil {
			if n > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, 0, err
		}
		n += got
		if !w.greeted && !mayBeBroker(first[0]) {
			return nil, 0, w.foreign(first[:n])
		}
		if h, l, ok := fixedHeader(first[:n]); ok {
			header, length = h, l
		}
	}
	total, kind := header+length, first[0]>>4
	switch {
	case total > w.maxPacket:
		return nil, 0, broken(0x95, fds.ErrPacketTooLarge, "the broker sent one of %d bytes, the limit is %d; raise MaxPacketSize if that is genuine", total, w.maxPacket)
	case total > maxWithoutMessage && kind != packets.PUBLISH:
		return nil, 0, broken(0x95, fds.ErrPacketTooLarge, "the broker sent one of type %d, which carries no message, of %d bytes, the limit is %d; ask the provider what its broker adds", kind, total, maxWithoutMessage)
	}
	if kind == packets.PUBLISH && !w.charge(total+messageBytes) {
		return nil, 0, errEnded
	}
	const step = 32 << 10
	packet = make([]byte, header, min(total, step))
	copy(packet, first[:header])
	for len(packet) < total {
		at := len(packet)
		if at == cap(packet) {
			packet = append(make([]byte, 0, min(total, 2*at)), packet...)
		}
		packet = packet[:cap(packet)]
		if _, err := io.ReadFull(w, packet[at:]); err != nil {
			return nil, 0, err
		}
	}
	return packet, header, nil
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
// section 1.5.5) and returns its value and length; the length is 0 when it is
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
