package push

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/fds-sdk/fds-go/internal/netpeer"
)

// gate lies between TLS and the network. A connection without traffic waits in await, whose
// frames fit into the 2 KiB of a new goroutine, as those of TLS do not, and holds no memory to
// read into. And TLS, whose buffers never become smaller, is handed one record at a time.
// All of it is the reader's alone.
type gate struct {
	net.Conn
	shaken  bool            // TLS has shaken hands
	raw     syscall.RawConn // nil: it cannot be waited for without reading
	patient bool            // a Read that finds nothing fails with errNothingYet
	read    func(fd uintptr) (done bool)
	waits   func() // called before a Read waits; nil: nobody asks

	buffer *[gateBytes]byte // holds data
	data   []byte           // was read, and not yet asked for
	failed error            // the network's, after data

	header [recordHeader]byte // of a record of TLS (RFC 8446 section 5.1), as far as it was handed out
	begun  int                // bytes of header
	left   int                // bytes of the record that follow it
}

const (
	gateBytes    = 4 << 10
	recordHeader = 5
)

// gateBuffers are those of all connections: one is in use while there is something to read.
var gateBuffers = sync.Pool{New: func() any { return new([gateBytes]byte) }}

// errNothingYet is temporary, so that TLS goes on where it was at the next Read.
var errNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "push: there is nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

// shookHands has the gate wait for the connection as it is now, if it can be waited for: nothing
// that reads in a way of its own may lie between.
func (g *gate) shookHands() {
	g.shaken = true
	g.Conn = netpeer.InUse(g.Conn)
	switch conn := g.Conn.(type) {
	case *net.TCPConn:
		if raw, err := conn.SyscallConn(); err == nil && canTry {
			g.raw, g.read = raw, g.try
		}
	}
}

// await returns when there is something to read, be it the end. An error is of the wait.
func (g *gate) await() error {
	if g.raw == nil || len(g.data) > 0 || g.failed != nil {
		return nil
	}
	return g.raw.Read(g.read)
}

// try reads what there is; false: nothing.
func (g *gate) try(fd uintptr) bool {
	buffer := gateBuffers.Get().(*[gateBytes]byte)
	n, err := tryRead(fd, buffer[:])
	g.keep(buffer, n)
	if err == errNothingYet {
		return false
	}
	g.failed = err
	return true
}

// keep keeps what was read into a buffer.
func (g *gate) keep(buffer *[gateBytes]byte, n int) {
	if n > 0 {
		g.buffer, g.data = buffer, buffer[:n]
	} else {
		gateBuffers.Put(buffer)
	}
}

// Read returns no more than what is left of a record, or of its header.
func (g *gate) Read(p []byte) (int, error) {
	want := g.left
	if want == 0 {
		want = recordHeader - g.begun
	}
	p = p[:min(len(p), want)]
	n, err := g.take(p)
	if g.left > 0 {
		g.left -= n
	} else if g.begun += copy(g.header[g.begun:], p[:n]); g.begun == recordHeader {
		g.begun, g.left = 0, int(g.header[3])<<8|int(g.header[4])
	}
	return n, err
}

// take reads into p from what await has read, or else from the network.
func (g *gate) take(p []byte) (int, error) {
	if len(g.data) == 0 && g.failed == nil {
		var err error
		switch {
		case g.patient:
			return 0, errNothingYet
		case g.shaken && (g.raw == nil || len(p) >= gateBytes):
			if g.waits != nil {
				g.waits()
			}
			return g.Conn.Read(p)
		case g.raw != nil:
			if g.waits != nil {
				g.waits()
			}
			err = g.await()
		default: // for so short a time memory is no matter
			buffer, n := gateBuffers.Get().(*[gateBytes]byte), 0
			n, err = g.Conn.Read(buffer[:])
			g.keep(buffer, n)
		}
		if err != nil {
			g.failed = err
		}
	}
	if len(g.data) == 0 {
		err := g.failed
		if errors.Is(err, os.ErrDeadlineExceeded) { // there may be another deadline
			g.failed = nil
		}
		return 0, err
	}
	n := copy(p, g.data)
	if g.data = g.data[n:]; len(g.data) == 0 {
		gateBuffers.Put(g.buffer)
		g.buffer, g.data = nil, nil
	}
	return n, nil
}
